// Integers modulo the prime 257, the field of the security domain's shares. Every element is 0..256 and needs nine
// bits. No table, branch or division depends on a value: both the secret and its shares pass through here.

/** An element: an integer 0..256. */
export type Element = number;

export const PRIME = 257;

/** Brings -257..256 into 0..256. */
function settle(value: number): Element {
  return value + (PRIME & (value >> 31));
}

/** Reduces 0..131071. As 256 is -1 and 65536 is 1 modulo 257, bytes are subtracted and added in turn. */
export function reduce(value: number): Element {
  return settle((value & 0xff) - ((value >> 8) & 0xff) + (value >> 16));
}

export function add(a: Element, b: Element): Element {
  return settle(a + b - PRIME);
}

export function subtract(a: Element, b: Element): Element {
  return settle(a - b);
}

export function multiply(a: Element, b: Element): Element {
  return reduce(a * b);
}

/** The inverse, by Fermat: a to the power of 255. Zero has none and yields 0; callers rule it out. */
export function invert(a: Element): Element {
  let power = a;
  for (let bit = 0; bit < 7; bit += 1) power = multiply(multiply(power, power), a); // 255 is eight ones
  return power;
}

/** Horner's rule, highest coefficient first. */
export function evaluate(coefficientsHighToLow: readonly Element[], x: Element): Element {
  return coefficientsHighToLow.reduce((sum, coefficient) => add(multiply(sum, x), coefficient), 0);
}

/**
 * The weights by which values at `xs` add up to the value at `at` (Lagrange). Points are not secret.
 * `xs` are distinct.
 */
export function weights(xs: readonly Element[], at: Element): Element[] {
  return xs.map((x, i) =>
    xs.reduce(
      (weight, other, j) =>
        i === j ? weight : multiply(weight, multiply(subtract(at, other), invert(subtract(x, other)))),
      1,
    ),
  );
}
