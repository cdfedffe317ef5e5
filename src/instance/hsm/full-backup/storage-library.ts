// What is used of the Azure library. Bundled into a file of its own, which is loaded by the first job that needs it and
// measured with the program: see `openContainer`.
export { AnonymousCredential, ContainerClient, newPipeline, RestError } from '@azure/storage-blob';
