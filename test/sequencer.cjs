// The order of the test files: first those that take longest, so that at the end both workers have something to do.
// Jest itself goes by the size of files, where it does not remember how long they took.
const Sequencer = require('@jest/test-sequencer').default;

/** What runs whole pools, the longest first; the rest keeps Jest's order. */
const LONGEST = [
  'scenarios/security-domain',
  'scenarios/kills',
  'scenarios/members',
  'docs/tutorials',
  'scenarios/',
  'harness/',
  'model/',
  'clients/',
  'docs/',
  'contract/',
  'cli/',
  'bench/',
];

class LongestFirst extends Sequencer {
  sort(tests) {
    return [...super.sort(tests)].sort((a, b) => rank(a.path) - rank(b.path)); // stable
  }
}

function rank(path) {
  const place = LONGEST.findIndex((part) => path.includes(`/test/${part}`));
  return place < 0 ? LONGEST.length : place;
}

module.exports = LongestFirst;
