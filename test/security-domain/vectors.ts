// The published vectors: made with the security-domain modules of Azure CLI 2.45.0, and checked by a second
// implementation. All keys in them are throw-away.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface NamedKey {
  readonly name: string;
  readonly private_key_pem: string;
  readonly certificate_pem: string;
}

interface VectorItem {
  readonly tag: string;
  readonly plaintext: string;
}

export interface Vectors {
  readonly gf257: Readonly<Record<'multiply' | 'add' | 'subtract', [number, number, number][]>> & {
    readonly invert: [number, number][];
    readonly invert_of_zero: number;
  };
  readonly shamir_byte: {
    readonly cases: {
      readonly polynomial_high_to_low: number[];
      readonly secret_byte: number;
      readonly required: number;
      readonly n: number;
      readonly values_at_1_to_n: number[];
      readonly words_little_endian_hex: string[];
      readonly recovered_from_first_m: number;
      readonly recovered_from_last_m_reversed: number;
    }[];
    readonly reader: { readonly word: number; readonly x: number; readonly value: number }[];
  };
  readonly shamir_secret: {
    readonly cases: {
      readonly n: number;
      readonly required: number;
      readonly secret: string;
      readonly polynomials_high_to_low_without_constant: number[][] | 'omitted';
      readonly shares: { readonly x: number; readonly bytes: string }[];
      readonly recoveries_by_azure_cli: { readonly share_numbers: number[]; readonly recovered: string }[];
    }[];
  };
  readonly kdf: {
    readonly cases: {
      readonly key: string;
      readonly label: string;
      readonly context: string;
      readonly bits: number;
      readonly output: string;
    }[];
  };
  readonly jwe_dir: {
    readonly cases: {
      readonly master_key: string;
      readonly tag: string;
      readonly cek: string;
      readonly plaintext: string;
      readonly protected_header: string;
      readonly compact_jwe: string;
    }[];
    readonly negative: { readonly case: string; readonly compact_jwe: string }[];
  };
  readonly jwe_rsa: {
    readonly private_key_pem: string;
    readonly certificate_pem: string;
    readonly x5t_256_base64url: string;
    readonly cek: string;
    readonly plaintext: string;
    readonly protected_header: string;
    readonly compact_jwe: string;
  };
  readonly end_to_end: {
    readonly download_request: {
      readonly certificates: Record<string, unknown>[];
      readonly required: number;
    };
    readonly wrapping_keys: NamedKey[];
    readonly master_key: string;
    readonly shares: { readonly x: number; readonly bytes: string }[];
    readonly items: VectorItem[];
    readonly security_domain_file: Record<string, unknown>;
    readonly exchange: {
      readonly private_key_pem: string;
      readonly certificate_pem: string;
      readonly certificate_file_as_azure_cli_writes_it: string;
    };
    readonly uploads: {
      readonly wrapping_keys_used: string[];
      readonly upload_value: string;
      readonly items_after_decryption: VectorItem[];
    }[];
    readonly refusals: { readonly keys: string[] }[];
  };
}

export const vectors = JSON.parse(readFileSync(join(__dirname, 'vectors.json'), 'utf8')) as Vectors;

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const unhex = (text: string): Buffer => Buffer.from(text, 'hex');
