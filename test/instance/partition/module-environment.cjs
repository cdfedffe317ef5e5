// A Jest environment whose tests see the process's own variables. A partition says with SOFTHSM2_CONF which token it
// works on, the module reads that with getenv, and what a test sees as process.env is else only a copy.
'use strict';
const { TestEnvironment } = require('jest-environment-node');

module.exports = class ModuleEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    this.before = process.env.SOFTHSM2_CONF;
    this.global.process.env = process.env;
  }

  async teardown() {
    if (this.before === undefined) delete process.env.SOFTHSM2_CONF;
    else process.env.SOFTHSM2_CONF = this.before;
    await super.teardown();
  }
};
