/* global __filename -- of the file that this becomes a part of */
// Stands for `import.meta.url` in what `scripts/bundle` makes, for the modules that ask for it.
import { pathToFileURL } from 'node:url';

export const moduleUrl = pathToFileURL(__filename).href;
