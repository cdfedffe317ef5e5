// What clients put into bodies, read once into values that cannot be of another form. Members that nobody knows are
// left out; what a member means is judged elsewhere.
import * as z from 'zod';
import { guidOf, newUuid } from '../../../values/ids.js';
import { ControlRefusal } from '../errors.js';
import type { ConnectionStatus, Identity, NetworkAcls, Tags } from '../../resources/state.js';
import type { HsmProperties } from '../../resources/wish.js';

/** As the resource manager limits them. */
const TAGS_MAX = 50;
const TAG_NAME_MAX = 512;
const TAG_VALUE_MAX = 256;
const ADMINISTRATORS_MAX = 100;
const LIST_MAX = 200;
const TEXT_MAX = 1_024;

const text = z.string().max(TEXT_MAX);
const guid = z.string().transform((value, context) => {
  const found = guidOf(value);
  if (found !== undefined) return found;
  context.addIssue({ code: 'custom', message: 'must be a GUID' });
  return z.NEVER;
});

/** One of these words, in any case. */
function word<const W extends readonly string[]>(words: W): z.ZodType<W[number], string> {
  return z.string().transform((value, context): W[number] => {
    const found = words.find((known) => known.toLowerCase() === value.toLowerCase());
    if (found !== undefined) return found;
    context.addIssue({ code: 'custom', message: `must be one of ${words.join(', ')}` });
    return z.NEVER;
  });
}

const tags = z
  .record(z.string().max(TAG_NAME_MAX), z.string().max(TAG_VALUE_MAX))
  .refine((all) => Object.keys(all).length <= TAGS_MAX, `has at most ${TAGS_MAX} members`);

const networkAcls = z.object({
  bypass: word(['AzureServices', 'None']).nullish(),
  defaultAction: word(['Allow', 'Deny']).nullish(),
  ipRules: z
    .array(z.object({ value: text }))
    .max(LIST_MAX)
    .nullish(),
  serviceTags: z
    .array(z.object({ tag: text }))
    .max(LIST_MAX)
    .nullish(),
  virtualNetworkRules: z
    .array(z.object({ id: text }))
    .max(LIST_MAX)
    .nullish(),
});

const identity = z.object({
  type: z
    .string()
    .transform((value) => value.replaceAll(' ', ''))
    .pipe(word(['None', 'SystemAssigned', 'UserAssigned', 'SystemAssigned,UserAssigned'])),
  userAssignedIdentities: z.record(text, z.unknown()).nullish(),
});

const hsm = z.object({
  location: text.nullish(),
  tags: tags.nullish(),
  sku: z.object({ family: text, name: text }).nullish(),
  identity: identity.nullish(),
  properties: z
    .object({
      tenantId: guid.nullish(),
      initialAdminObjectIds: z.array(guid).max(ADMINISTRATORS_MAX).nullish(),
      enableSoftDelete: z.boolean().nullish(),
      softDeleteRetentionInDays: z.number().nullish(),
      enablePurgeProtection: z.boolean().nullish(),
      createMode: word(['default', 'recover']).nullish(),
      networkAcls: networkAcls.nullish(),
      publicNetworkAccess: word(['Enabled', 'Disabled']).nullish(),
      regions: z
        .array(z.object({ name: text }))
        .max(LIST_MAX)
        .nullish(),
    })
    .nullish(),
});

export function hsmIn(body: unknown): HsmProperties {
  const { location, tags: given, sku, identity: who, properties } = read(hsm, body);
  const {
    tenantId,
    initialAdminObjectIds,
    enableSoftDelete,
    softDeleteRetentionInDays,
    enablePurgeProtection,
    createMode,
    networkAcls: acls,
    publicNetworkAccess,
    regions,
  } = properties ?? {};
  return withoutGaps({
    location,
    tags: given,
    sku,
    identity: who && identityOf(who),
    tenantId,
    administrators: initialAdminObjectIds && [...new Set(initialAdminObjectIds)],
    enableSoftDelete,
    retentionDays: softDeleteRetentionInDays,
    purgeProtection: enablePurgeProtection,
    createMode,
    networkAcls: acls && aclsOf(acls),
    publicNetworkAccess,
    regions: regions?.map(({ name }) => name),
  });
}

function aclsOf(acls: z.output<typeof networkAcls>): NetworkAcls {
  return {
    bypass: acls.bypass ?? 'AzureServices',
    defaultAction: acls.defaultAction ?? 'Allow',
    ipRules: (acls.ipRules ?? []).map(({ value }) => value),
    serviceTags: (acls.serviceTags ?? []).map(({ tag }) => tag),
    virtualNetworkRules: (acls.virtualNetworkRules ?? []).map(({ id }) => id),
  };
}

function identityOf({ type, userAssignedIdentities }: z.output<typeof identity>): Identity | 'None' {
  if (type === 'None') return 'None';
  return {
    type,
    ...(type.startsWith('SystemAssigned') && { principalId: newUuid() }),
    userAssigned: type.endsWith('UserAssigned') ? Object.keys(userAssignedIdentities ?? {}) : [],
  };
}

const group = z.object({ location: text.nullish(), tags: tags.nullish() });

export function groupIn(body: unknown): { location: string | undefined; tags: Tags | undefined } {
  const { location, tags: given } = read(group, body);
  return { location: location ?? undefined, tags: given ?? undefined };
}

const connection = z.object({
  properties: z.object({
    privateEndpoint: z.object({ id: text.nullish() }).nullish(),
    privateLinkServiceConnectionState: z
      .object({
        status: word(['Pending', 'Approved', 'Rejected', 'Disconnected']).nullish(),
        description: text.nullish(),
      })
      .nullish(),
  }),
});

export interface ConnectionBody {
  readonly endpoint: string | undefined;
  readonly status: ConnectionStatus;
  readonly description: string | undefined;
}

export function connectionIn(body: unknown): ConnectionBody {
  const { privateEndpoint, privateLinkServiceConnectionState: state } = read(connection, body).properties;
  return {
    endpoint: privateEndpoint?.id ?? undefined,
    status: state?.status ?? 'Pending',
    description: state?.description ?? undefined,
  };
}

const assignment = z.object({
  properties: z.object({
    principalId: text,
    roleDefinitionId: text,
    principalType: text.nullish(),
  }),
});

export interface AssignmentBody {
  readonly principalId: string;
  readonly role: string;
  readonly principalType: string | undefined;
}

export function assignmentIn(body: unknown): AssignmentBody {
  const { principalId, roleDefinitionId, principalType } = read(assignment, body).properties;
  return { principalId, role: roleDefinitionId, principalType: principalType ?? undefined };
}

const name = z.object({ name: text, type: text.nullish() });

export function nameIn(body: unknown): string {
  return read(name, body).name;
}

function read<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const found = schema.safeParse(body ?? {});
  if (found.success) return found.data;
  const [issue] = found.error.issues;
  const path = issue?.path.join('.') ?? '';
  throw new ControlRefusal(
    'InvalidRequestContent',
    `The request content was invalid and could not be deserialized: '${path === '' ? 'the body' : path}' ` +
      `${issue?.message ?? ''}.`,
  );
}

type Whole<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined | null> };

function withoutGaps<T extends object>(value: T): Whole<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== undefined && member !== null),
  ) as Whole<T>;
}
