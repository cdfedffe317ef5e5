// Read and change the settings of the HSM.
import { newUuid } from '../../values/ids.js';
import { settingNames, type SettingName } from '../model/pool.js';
import type { Caller } from '../model/rbac/records.js';
import type { Hsm } from './hsm.js';
import { allow, refuse, settledRead } from './reading.js';

export interface SettingView {
  readonly name: SettingName;
  readonly value: boolean;
}

/** All settings. */
export function listSettings(hsm: Hsm, caller: Caller): SettingView[] | Promise<SettingView[]> {
  return settledRead(hsm, caller, undefined, () => {
    const { settings } = allow(hsm, caller, 'settings/read/action', '/');
    return settingNames.map((name) => ({ name, value: settings[name] }));
  });
}

/** One setting; its name is compared without case. */
export function getSetting(hsm: Hsm, caller: Caller, name: string): SettingView | Promise<SettingView> {
  return settledRead(hsm, caller, undefined, () => {
    const { settings } = allow(hsm, caller, 'settings/read/action', '/');
    const known = settingNamed(name);
    return { name: known, value: settings[known] };
  });
}

/** Answers with the setting as it is now. */
export async function changeSetting(
  hsm: Hsm,
  caller: Caller,
  name: string,
  value: boolean,
): Promise<SettingView> {
  const action = 'settings/write/action';
  await settledRead(hsm, caller, undefined, () => void allow(hsm, caller, action, '/'));
  const known = settingNamed(name);
  await hsm.submit({
    kind: 'SettingChanged',
    id: newUuid(),
    time: hsm.now(),
    authority: { caller, action, scope: '/' },
    name: known,
    value,
  });
  return { name: known, value };
}

function settingNamed(name: string): SettingName {
  const folded = name.toLowerCase();
  return settingNames.find((known) => known.toLowerCase() === folded) ?? refuse('SettingNotFound', name);
}
