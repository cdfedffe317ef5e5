// Removes what the test run shared.
const { rmSync } = require('node:fs');

module.exports = () => rmSync(process.env.TRIVET_TEMPLATES, { recursive: true, force: true });
