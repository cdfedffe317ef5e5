// The text of files and blobs: JSON as it is, or base64url of it. The service and its tools use the first, the
// examples of its specification the second.
import { fromBase64url } from '../values/bytes.js';

/** The JSON value in the text; undefined when there is none. */
export function parseText(text: string): unknown {
  const bare = text.replace(/^\uFEFF/, '').trim(); // editors leave a mark, shells a newline
  const json = bare.startsWith('{') ? bare : fromBase64url(bare)?.toString('utf8');
  try {
    return json === undefined ? undefined : JSON.parse(json);
  } catch {
    return undefined;
  }
}
