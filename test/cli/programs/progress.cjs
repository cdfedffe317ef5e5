// Something that takes until it was shown three times; with `known` as its argument it says how far it is.
const { withProgress } = require('../../../dist/cli/progress.js');

const write = process.stderr.write.bind(process.stderr);
let shown = 0;
process.stderr.write = (chunk, ...rest) => {
  if (String(chunk).includes('working')) shown += 1;
  return write(chunk, ...rest);
};

withProgress('working', process.argv[2] === 'known' ? 4 : undefined, async (advance) => {
  for (let step = 1; step <= 3; step += 1) {
    while (shown < step) await new Promise((resolve) => setTimeout(resolve, 10));
    advance(`step-${step}`);
  }
}).then(() => process.stdout.write('done\n'));
