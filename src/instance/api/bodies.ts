// The bodies that requests may have, each a schema that is compiled once and turns text into bytes on the way in.
// Members that no operation here knows are let pass, as clients of newer API versions send some; a member that asks
// for something this service does not offer is read, so that it can be refused aloud.
import * as z from 'zod';
import { fromBase64url } from '../../values/bytes.js';
import { LAST_SECOND } from '../../values/moments.js';
import { bad } from './errors.js';

/** base64url, with or without padding. */
const bytes = z
  .string()
  .meta({ format: 'base64url' })
  .transform((text, context) => {
    const decoded = fromBase64url(text);
    if (decoded !== undefined) return decoded;
    context.issues.push({ code: 'custom', message: 'not base64url', input: undefined });
    return z.NEVER;
  });

const someBytes = bytes.refine((decoded) => decoded.length > 0, { message: 'must not be empty' });

/** Clients send null for what is not set. */
function optional<T extends z.ZodType>(shape: T) {
  return shape.nullish().transform((value) => value ?? undefined);
}

/** Read only to be refused. */
const foreign = z.unknown().optional();

const seconds = z.int().min(0).max(LAST_SECOND);

const attributes = z.object({
  enabled: optional(z.boolean()),
  nbf: optional(seconds),
  exp: optional(seconds),
  exportable: optional(z.boolean()),
  external_key: foreign,
});

const releasePolicy = optional(
  z.object({ contentType: optional(z.string()), data: someBytes, immutable: optional(z.boolean()) }),
);

const tags = z.record(z.string(), z.string());
const operations = z.array(z.string()).max(20);

export const createBody = z.object({
  kty: z.string(),
  key_size: optional(z.int()),
  public_exponent: optional(z.int()),
  crv: optional(z.string()),
  key_ops: optional(operations),
  attributes: optional(attributes),
  tags: optional(tags),
  release_policy: releasePolicy,
});

export const importBody = z.object({
  key: z.object({
    kty: z.string(),
    key_ops: optional(operations),
    n: optional(bytes),
    e: optional(bytes),
    d: optional(bytes),
    p: optional(bytes),
    q: optional(bytes),
    dp: optional(bytes),
    dq: optional(bytes),
    qi: optional(bytes),
    crv: optional(z.string()),
    x: optional(bytes),
    y: optional(bytes),
    k: optional(bytes),
    key_hsm: optional(z.string().min(1)),
  }),
  attributes: optional(attributes),
  tags: optional(tags),
  release_policy: releasePolicy,
});

export const updateBody = z.object({
  key_ops: optional(operations),
  attributes: optional(attributes),
  tags: optional(tags),
  release_policy: releasePolicy,
});

export const signBody = z.object({ alg: z.string(), value: someBytes });
export const verifyBody = z.object({ alg: z.string(), digest: someBytes, value: bytes });
export const cipherBody = z.object({
  alg: z.string(),
  value: someBytes,
  iv: optional(bytes),
  aad: optional(bytes),
  tag: optional(bytes),
});
export const randomBody = z.object({ count: z.int() });

export const restoreBody = z.object({ value: someBytes });

const duration = optional(z.string().max(64));

export const policyBody = z.object({
  lifetimeActions: optional(
    z
      .array(
        z.object({
          action: z.object({ type: z.string().max(64) }),
          trigger: z.object({ timeAfterCreate: duration, timeBeforeExpiry: duration }),
        }),
      )
      .max(20),
  ),
  attributes: optional(z.object({ expiryTime: duration })),
});

/** With the rotation policy that the new key is to have. */
export const createIfAbsentBody = createBody.extend({ rotation_policy: optional(policyBody) });

export const settingBody = z.object({ value: z.string() });

/** Tokens of an attestation service have some kilobytes. */
const assertion = z.string().min(1).max(61_440);

/** PEM of a few certificates. */
const CERTIFICATES_CHARS_MAX = 32_768;
const URL_CHARS_MAX = 2_048;

export const trustedHostBody = z.object({ publicKey: z.string().max(128) });
export const trustedIssuerBody = z.object({
  issuer: z.string().max(URL_CHARS_MAX),
  metadataUrl: optional(z.string().max(URL_CHARS_MAX)),
  ca: optional(z.string().max(CERTIFICATES_CHARS_MAX)),
  audience: optional(z.string().max(URL_CHARS_MAX)),
});

export const releaseBody = z.object({
  target: assertion,
  nonce: optional(z.string().max(1_024)),
  enc: optional(z.string()),
});
export const secureWrapBody = z.object({ alg: z.string() });
export const secureUnwrapBody = z.object({
  alg: z.string(),
  value: someBytes,
  target: assertion,
  applicationTrustedIssuer: foreign,
});

/** Certificates and quorum; read by the verb, whose rules they follow. */
export const downloadBody = z.looseObject({});
export const uploadBody = z.object({ value: z.string().min(1) });

const storage = {
  storageResourceUri: z.string().min(1).max(URL_CHARS_MAX),
  token: optional(z.string().min(1).max(URL_CHARS_MAX)),
  useManagedIdentity: optional(z.boolean()),
};
/**
 * The name of a folder; with that of its container before it where clients take the first segment of a URL for the
 * container, which is an account on a host that serves several.
 */
const SEGMENT = '(?!\\.\\.?(?:/|$))[A-Za-z0-9._-]{1,128}';
const folder = z
  .string()
  .regex(new RegExp(`^${SEGMENT}(?:/${SEGMENT})?$`), { message: 'not the name of a folder' });

export const fullBackupBody = z.object(storage);
export const backupCheckBody = z.object({
  ...storage,
  storageResourceUri: optional(storage.storageResourceUri),
});
export const fullRestoreBody = z.object({ sasTokenParameters: z.object(storage), folderToRestore: folder });
export const restoreCheckBody = z.object({
  sasTokenParameters: optional(z.object(storage)),
  folderToRestore: optional(folder),
});
export const keyFromBackupBody = z.object({ sasTokenParameters: z.object(storage), folder });

const actions = optional(z.array(z.string().max(256)).max(100));

export const definitionBody = z.object({
  properties: z.object({
    roleName: optional(z.string().max(512)),
    description: optional(z.string().max(2048)),
    type: optional(z.string()),
    permissions: optional(
      z
        .array(z.object({ actions, notActions: actions, dataActions: actions, notDataActions: actions }))
        .max(20),
    ),
    assignableScopes: optional(z.array(z.string()).max(20)),
  }),
});

export const assignmentBody = z.object({
  properties: z.object({ roleDefinitionId: z.string(), principalId: z.string() }),
});

export type AttributesBody = z.infer<typeof attributes>;
export type CreateBody = z.infer<typeof createBody>;
export type CreateIfAbsentBody = z.infer<typeof createIfAbsentBody>;
export type ImportBody = z.infer<typeof importBody>;
export type UpdateBody = z.infer<typeof updateBody>;
export type SignBody = z.infer<typeof signBody>;
export type VerifyBody = z.infer<typeof verifyBody>;
export type CipherBody = z.infer<typeof cipherBody>;
export type RestoreBody = z.infer<typeof restoreBody>;
export type PolicyBody = z.infer<typeof policyBody>;
export type SettingBody = z.infer<typeof settingBody>;
export type TrustedHostBody = z.infer<typeof trustedHostBody>;
export type TrustedIssuerBody = z.infer<typeof trustedIssuerBody>;
export type ReleaseBody = z.infer<typeof releaseBody>;
export type SecureWrapBody = z.infer<typeof secureWrapBody>;
export type SecureUnwrapBody = z.infer<typeof secureUnwrapBody>;
export type FullBackupBody = z.infer<typeof fullBackupBody>;
export type BackupCheckBody = z.infer<typeof backupCheckBody>;
export type FullRestoreBody = z.infer<typeof fullRestoreBody>;
export type RestoreCheckBody = z.infer<typeof restoreCheckBody>;
export type KeyFromBackupBody = z.infer<typeof keyFromBackupBody>;
export type DownloadBody = z.infer<typeof downloadBody>;
export type UploadBody = z.infer<typeof uploadBody>;
export type RandomBody = z.infer<typeof randomBody>;
export type DefinitionBody = z.infer<typeof definitionBody>;
export type AssignmentBody = z.infer<typeof assignmentBody>;

/** Reads a body; the words of a refusal name the member and never repeat its value. */
export function readBody<T>(shape: z.ZodType<T>, body: unknown): T {
  const parsed = shape.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const member = issue?.path.map(String).join('.') ?? '';
  return bad(
    member === '' ? 'The body must be a JSON object' : `Property '${member}': ${issue?.message ?? 'invalid'}`,
  );
}
