// The one error class of this room: what went wrong, by name and number, and the function that said so.
import { CKR } from './constants.js';

const symbols = new Map<number, string>(Object.entries(CKR).map(([name, code]) => [code, `CKR_${name}`]));

const VENDOR_DEFINED = 0x80000000;

function symbolOf(code: number): string {
  return symbols.get(code) ?? (code >= VENDOR_DEFINED ? 'CKR_VENDOR_DEFINED' : 'CKR_UNKNOWN');
}

/** A refusal, by the module or on its behalf. The message holds no data of the call. */
export class Pkcs11Error extends Error {
  override readonly name = 'Pkcs11Error';
  /** The `CKR_` number. */
  readonly code: number;
  /** The `CKR_` name, such as `CKR_PIN_INCORRECT`. */
  readonly symbol: string;
  /** The function that returned it, such as `C_Login`. */
  readonly functionName: string;

  constructor(code: number, functionName: string, options?: ErrorOptions) {
    const symbol = symbolOf(code);
    super(`${functionName}: ${symbol} (0x${code.toString(16)})`, options);
    this.code = code;
    this.symbol = symbol;
    this.functionName = functionName;
  }
}
