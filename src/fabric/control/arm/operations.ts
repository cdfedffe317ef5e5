// What takes longer than a request: the answer that it has begun, and where its client asks what has become of it. Asked
// again and again; 202 until it has ended.
import express from 'express';
import type { Request, Response, Router } from 'express';
import { permits } from '../../resources/rbac.js';
import { hsmNamed } from '../../resources/state.js';
import type { Hsm, Operation } from '../../resources/state.js';
import { ControlRefusal } from '../errors.js';
import { callerIn, named, versionIn } from './parts.js';
import type { ArmParts } from './parts.js';

/** Seconds. Zero counts as absent for some clients, which then wait for half a minute. */
const RETRY_AFTER = '1';

/** 202 without a body, and where to ask. */
export function sendAccepted(parts: ArmParts, request: Request, response: Response, id: string): void {
  const operation = parts.provider.state.operations.find((one) => one.id === id);
  if (operation) setPlace(parts, request, response, operation);
  response.status(202).end();
}

function setPlace(parts: ArmParts, request: Request, response: Response, operation: Operation): void {
  const { subscription } = parts.provider.state;
  const version = encodeURIComponent(versionIn(request));
  const place =
    operation.kind === 'deleteGroup'
      ? `operationresults/${operation.id}`
      : `providers/Microsoft.KeyVault/locations/${operation.location}/managedHsmOperationResults/${operation.id}`;
  response.set({
    Location: `${parts.baseOf(request)}/subscriptions/${subscription.id}/${place}?api-version=${version}`,
    'Retry-After': RETRY_AFTER,
  });
}

export function operationRoutes(parts: ArmParts, shapeOf: (hsm: Hsm) => unknown): Router {
  const routes = express.Router();
  const answer = (request: Request, response: Response): void => {
    const { state } = parts.provider;
    const operation = state.operations.find(({ id }) => id === named(request, 'id').toLowerCase());
    const { objectId } = callerIn(response);
    const mine =
      operation?.by === objectId ||
      permits(
        state.assignments,
        objectId,
        'Microsoft.KeyVault/locations/managedHsmOperationResults/read',
        `/subscriptions/${state.subscription.id}`,
      );
    if (!operation || !mine) {
      throw new ControlRefusal('NotFound', `There is no operation '${named(request, 'id').slice(0, 100)}'.`);
    }
    send(parts, request, response, operation, shapeOf);
  };
  routes.get(
    '/subscriptions/:subscription/providers/Microsoft.KeyVault/locations/:location/managedHsmOperationResults/:id',
    answer,
  );
  routes.get('/subscriptions/:subscription/operationresults/:id', answer);
  return routes;
}

function send(
  parts: ArmParts,
  request: Request,
  response: Response,
  operation: Operation,
  shapeOf: (hsm: Hsm) => unknown,
): void {
  switch (operation.status) {
    case 'InProgress':
      setPlace(parts, request, response, operation);
      response.status(202).end();
      break;
    case 'Failed':
      throw new ControlRefusal('OperationFailed', operation.message ?? 'The operation has failed.');
    case 'Succeeded': {
      // Older clients take the resource from here, newer ones ask for it afterwards.
      const hsm =
        operation.kind === 'create' || operation.kind === 'recover'
          ? hsmNamed(parts.provider.state, operation.group, operation.target)
          : undefined;
      if (hsm) response.json(shapeOf(hsm));
      else response.status(200).end();
    }
  }
}
