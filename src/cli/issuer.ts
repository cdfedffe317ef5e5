// Readers of what `up` is told about identities.
import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import type { PublishingIssuer } from '../values/messages.js';

/** `URL[,FILE][,metadata=URL][,audience=VALUE]`, added to those before. */
export function issuer(text: string, before: readonly PublishingIssuer[]): readonly PublishingIssuer[] {
  const [url = '', ...rest] = text.split(',');
  let read: PublishingIssuer = { issuer: https(url) };
  for (const part of rest) {
    const [, name, value = ''] = /^(metadata|audience)=(.+)$/.exec(part) ?? [];
    if (name === 'metadata') read = { ...read, metadataUrl: https(value) };
    else if (name === 'audience') read = { ...read, audience: value };
    else read = { ...read, ca: readCertificates(part) };
  }
  if (before.some((other) => other.issuer === read.issuer)) {
    throw new InvalidArgumentError('an issuer is named once');
  }
  return [...before, read];
}

function https(url: string): string {
  if (/^https:\/\/[^\s?#@\\]+$/.test(url) && URL.canParse(url)) return url;
  throw new InvalidArgumentError('an issuer has an https URL without user, query and fragment');
}

/** The certificates in a file, as PEM. */
export function readCertificates(file: string): string {
  try {
    const pem = readFileSync(file, 'utf8');
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : 'it cannot be read');
  }
  throw new InvalidArgumentError(`${file} holds no certificate in PEM`);
}

/** In lower case. */
export function guid(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError('a GUID is expected');
}
