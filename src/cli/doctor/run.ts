// `trivet doctor`: looks, judges, shows.
import { DOMAIN } from '../../fabric/main.js';
import { print } from '../ask.js';
import { probe, type ProbeOptions } from './probe.js';
import { exitCode, judge, type Verdict } from './rules.js';

export interface DoctorOptions extends Omit<ProbeOptions, 'domain'> {
  ignore: readonly string[];
  verbose?: true;
  json?: true;
}

/** Sets the exit code: 0 all well, 1 findings, 2 no findings but something could not be checked. */
export async function doctor(options: DoctorOptions): Promise<void> {
  const verdicts = await examine(options);
  const code = exitCode(verdicts);
  print(
    options.json
      ? JSON.stringify({ code, checks: verdicts })
      : verdictText(verdicts, options.verbose === true),
  );
  process.exitCode = code;
}

async function examine(options: DoctorOptions): Promise<readonly Verdict[]> {
  try {
    return judge(await probe({ ...options, domain: DOMAIN }), options.ignore);
  } catch (error) {
    // A directory of somebody else, say: nothing at all can be checked.
    if (!(error instanceof Error && 'code' in error)) throw error;
    return [{ check: 'directory', findings: [], unchecked: error.message }];
  }
}

function verdictText(verdicts: readonly Verdict[], verbose: boolean): string {
  const findings = verdicts.flatMap((verdict) => verdict.findings).length;
  const unchecked = verdicts.filter((verdict) => verdict.unchecked !== undefined).length;
  const well = verdicts.filter((verdict) => verdict.well !== undefined).length;
  const lines = verdicts.flatMap(({ check, well: said, findings: found, unchecked: why }) => [
    ...(verbose && said !== undefined ? [`ok       ${check}: ${said}`] : []),
    ...found.map(
      ({ severity, what, remedy }) => `${severity.padEnd(8)} ${check}: ${what}\n         ${remedy}`,
    ),
    ...(why === undefined ? [] : [`unknown  ${check}: ${why}`]),
  ]);
  const summary = [
    `${well} of ${verdicts.length} checks are well`,
    ...(findings > 0 ? [`${findings} ${findings === 1 ? 'finding' : 'findings'}`] : []),
    ...(unchecked > 0 ? [`${unchecked} could not be made`] : []),
  ];
  return [...lines, `${summary.join(', ')}.`].join('\n');
}
