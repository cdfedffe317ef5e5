// Something that takes until it was shown three times; with `known` as its argument it says how far it is, with `busy` it
// does so and lets no timer run.
const { withProgress } = require('../../../dist/cli/progress.js');

const write = process.stderr.write.bind(process.stderr);
let shown = 0;
process.stderr.write = (chunk, ...rest) => {
  if (String(chunk).includes('working')) shown += 1;
  return write(chunk, ...rest);
};

const HALF = 50;
function busy(advance) {
  advance('step-1');
  for (let done = 1; done < HALF; done += 1) {
    // Longer than the time after which a bar is shown, all steps together.
    for (const end = performance.now() + 30; performance.now() < end;);
    advance(`step-${done + 1}`);
  }
  return Promise.resolve();
}

async function patient(advance) {
  for (let step = 1; step <= 3; step += 1) {
    while (shown < step) await new Promise((resolve) => setTimeout(resolve, 10));
    advance(`step-${step}`);
  }
}

const [work, total] = { known: [patient, 4], busy: [busy, 2 * HALF] }[process.argv[2]] ?? [
  patient,
  undefined,
];
withProgress('working', total, work).then(() => process.stdout.write('done\n'));
