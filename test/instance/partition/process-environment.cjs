// A Jest environment whose process.env is the process's own: what a test sees otherwise is a copy, and the PKCS#11
// module reads SOFTHSM2_CONF with getenv.
const { TestEnvironment } = require('jest-environment-node');

module.exports = class ProcessEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.global.process.env = process.env;
  }
};
