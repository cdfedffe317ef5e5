// JSON as the service writes it; the API's name for it, since a released key's answer is JSON of a lower room.
export { toJson, type Json } from '../../values/json.js';
