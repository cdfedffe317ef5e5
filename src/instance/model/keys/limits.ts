// Limits of one pool (service limits of Managed HSM).
export const MAX_KEYS = 5_000;
export const MAX_VERSIONS = 100;
export const MAX_TAGS = 15;
/** Characters in a tag's name and in its value. */
export const MAX_TAG_LENGTH = 256;
