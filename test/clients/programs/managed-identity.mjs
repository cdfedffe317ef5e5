// @azure/identity as a program in App Service uses it: nothing but what the environment holds.
// Argument, as JSON: {url, key}. Prints the name of the key as the pool shows it, or how that failed.
import { DefaultAzureCredential, ManagedIdentityCredential } from '@azure/identity';
import { KeyClient } from '@azure/keyvault-keys';

const { url, key } = JSON.parse(process.argv[2]);
const told = {};
for (const [name, credential] of [
  ['managed', new ManagedIdentityCredential({ retryOptions: { maxRetries: 0 } })],
  ['default', new DefaultAzureCredential({ retryOptions: { maxRetries: 0 } })],
]) {
  try {
    told[name] = (await new KeyClient(url, credential).getKey(key)).name;
  } catch (error) {
    told[name] = error.statusCode ?? error.name;
  }
}
console.log(JSON.stringify(told));
