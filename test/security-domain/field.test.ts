import {
  PRIME,
  add,
  evaluate,
  invert,
  multiply,
  reduce,
  subtract,
  weights,
} from '../../src/security-domain/field.js';
import { vectors } from './vectors.js';

test('field: the published sums, differences, products and inverses come out', () => {
  const { gf257 } = vectors;
  for (const [a, b, sum] of gf257.add) expect([a, b, add(a, b)]).toEqual([a, b, sum]);
  for (const [a, b, difference] of gf257.subtract) expect([a, b, subtract(a, b)]).toEqual([a, b, difference]);
  for (const [a, b, product] of gf257.multiply) expect([a, b, multiply(a, b)]).toEqual([a, b, product]);
  for (const [a, inverse] of gf257.invert) expect([a, invert(a)]).toEqual([a, inverse]);
  expect(invert(0)).toBe(gf257.invert_of_zero);
});

test('field: reducing without division gives the remainder of every number that occurs', () => {
  const wrong: number[] = [];
  for (let number = 0; number < 131_072; number += 1) {
    if (reduce(number) !== number % PRIME) wrong.push(number);
  }
  expect(wrong).toEqual([]);
});

test('field: every pair of elements adds, subtracts and multiplies as integers modulo 257 do', () => {
  const wrong: [number, number][] = [];
  for (let a = 0; a < PRIME; a += 1) {
    for (let b = 0; b < PRIME; b += 1) {
      const right =
        add(a, b) === (a + b) % PRIME &&
        subtract(a, b) === (a - b + PRIME) % PRIME &&
        multiply(a, b) === (a * b) % PRIME;
      if (!right) wrong.push([a, b]);
    }
  }
  expect(wrong).toEqual([]);
});

test('field: an element times its inverse is one', () => {
  for (let a = 1; a < PRIME; a += 1) expect(multiply(a, invert(a))).toBe(1);
});

test('field: weights find the value of a polynomial anywhere', () => {
  const polynomial = [7, 256, 0, 42];
  const xs = [3, 9, 1, 126];
  for (const at of [0, 2, 9, 256]) {
    const scale = weights(xs, at);
    const value = xs.reduce((sum, x, i) => add(sum, multiply(scale[i] ?? 0, evaluate(polynomial, x))), 0);
    expect(value).toBe(evaluate(polynomial, at));
  }
});
