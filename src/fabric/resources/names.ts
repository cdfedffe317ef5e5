// Which names and places may be wished for. Pure.

/** The service's own rule: 3 to 24 letters, digits and single hyphens, a letter first, no hyphen last. */
const HSM = /^[a-z](?:-?[a-z0-9])+$/i;
const GROUP = /^[-\w.()]{0,89}[-\w()]$/;
const LOCATION = /^[a-z][a-z0-9]{1,31}$/;
const CONNECTION = /^[a-z0-9][-a-z0-9_.]{0,79}$/i;

export function isHsmName(name: string): boolean {
  return name.length >= 3 && name.length <= 24 && HSM.test(name);
}

export function isGroupName(name: string): boolean {
  return GROUP.test(name);
}

/** `location` as it is compared, see `locationName`. */
export function isLocation(location: string): boolean {
  return LOCATION.test(location);
}

export function isConnectionName(name: string): boolean {
  return CONNECTION.test(name);
}
