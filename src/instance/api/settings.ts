// Handlers of settings, whose values are texts.
import { toJson, type Json } from '../../values/json.js';
import { changeSetting, getSetting, listSettings, type SettingView } from '../hsm/settings.js';
import type { SettingBody } from './bodies.js';
import { whenDone, type Answer, type Call } from './call.js';
import { bad } from './errors.js';

/** `GET /settings`: all of them. */
export function list({ hsm, caller }: Call): Answer {
  return whenDone(listSettings(hsm, caller), (settings) => toJson({ settings: settings.map(shape) }));
}

/** `GET /settings/{name}`. */
export function get({ hsm, caller, item }: Call): Answer {
  return whenDone(getSetting(hsm, caller, item), (setting) => toJson(shape(setting)));
}

/** `PATCH /settings/{name}`: the setting as it is now. */
export async function change({ hsm, caller, item }: Call, { value }: SettingBody): Promise<string> {
  return toJson(shape(await changeSetting(hsm, caller, item, truthOf(value))));
}

function truthOf(value: string): boolean {
  const folded = value.toLowerCase();
  if (folded === 'true' || folded === 'false') return folded === 'true';
  return bad("The value of this setting is 'true' or 'false'");
}

function shape({ name, value }: SettingView): Json {
  return { name, type: 'boolean', value: String(value) };
}
