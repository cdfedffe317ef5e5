// `trivet role`: who may do what with the keys of a pool. Only says what there is.
import type { Command } from 'commander';
import { guid } from './issuer.js';
import { inPool } from './key.js';
import type { PoolOptions } from './plane.js';
import type { AssignOptions, FindOptions, ListOptions } from './role/assignment.js';
import type { DefinitionOptions } from './role/definition.js';

const another = (text: string, before: readonly string[]): readonly string[] => [...before, text];

/** Adds the commands. */
export function addRole(trivet: Command): void {
  const group = trivet.command('role').description('who may do what with the keys of a pool');
  addDefinition(group.command('definition').description('the roles that there are'));
  addAssignment(group.command('assignment').description('who has which role, and where'));
}

function addDefinition(group: Command): void {
  inPool(group.command('list'))
    .description('show all roles')
    .action(async (options: PoolOptions) => {
      const { listDefinitions } = await import('./role/definition.js');
      await listDefinitions(options);
    });
  inPool(group.command('show <role>'))
    .description('show what a role may do; by its name or id')
    .action(async (role: string, options: PoolOptions) => {
      const { showDefinition } = await import('./role/definition.js');
      await showDefinition(role, options);
    });
  inPool(group.command('create <name>'))
    .description('make a role of your own, or change one')
    .requiredOption(
      '--action <action>',
      'what it may do, such as Microsoft.KeyVault/managedHsm/keys/sign/action, or the end of it: keys/sign/action; may ' +
        'be given several times',
      another,
      [],
    )
    .option('--not-action <action>', 'what it may not do of that; may be given several times', another, [])
    .option('--description <text>', 'what it is for')
    .option('--id <guid>', 'its id (default: a new one; one that there is, is changed)', guid)
    .action(async (name: string, options: DefinitionOptions) => {
      const { createDefinition } = await import('./role/definition.js');
      await createDefinition(name, options);
    });
  inPool(group.command('delete <role>'))
    .description('remove a role of your own that nobody has; by its name or id')
    .action(async (role: string, options: PoolOptions) => {
      const { deleteDefinition } = await import('./role/definition.js');
      await deleteDefinition(role, options);
    });
}

function addAssignment(group: Command): void {
  inPool(group.command('list'))
    .description('show who has which role')
    .option('--scope <scope>', 'what holds there: /, /keys, or /keys/NAME', '/keys')
    .option('--principal <who>', 'all that one has, wherever; by name, client id or object id')
    .action(async (options: ListOptions) => {
      const { listAssignments } = await import('./role/assignment.js');
      await listAssignments(options);
    });
  inPool(group.command('create'))
    .description('give somebody a role')
    .requiredOption('--principal <who>', 'by name, client id or object id')
    .requiredOption('--role <role>', 'by name or id')
    .requiredOption('--scope <scope>', 'where it holds: / for the whole HSM, /keys, or /keys/NAME')
    .action(async (options: AssignOptions) => {
      const { createAssignment } = await import('./role/assignment.js');
      await createAssignment(options);
    });
  inPool(group.command('delete [id]'))
    .description('take a role from somebody; by the id of the assignment, or by who, what and where')
    .option('--principal <who>', 'by name, client id or object id')
    .option('--role <role>', 'by name or id')
    .option('--scope <scope>', 'where it holds; with an id it may be left out for / and /keys')
    .action(async (id: string | undefined, options: FindOptions) => {
      const { deleteAssignment } = await import('./role/assignment.js');
      await deleteAssignment(id, options);
    });
}
