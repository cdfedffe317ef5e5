// What a client asks before it knows anything: where is the login, for which audience, under which suffixes. Open to
// everybody, as in Azure. Pure.

export interface CloudFacts {
  /** Scheme, host and port of the control plane as the client wrote them. */
  readonly base: string;
  readonly tenantId: string;
  /** Suffix of the pools' host names. */
  readonly domain: string;
  readonly dataPort: number;
}

/** The oldest form, one object; `az cloud register --endpoint-resource-manager` asks for it. */
function endpoints({ base, tenantId }: CloudFacts): Record<string, unknown> {
  return {
    galleryEndpoint: `${base}/`,
    graphEndpoint: `${base}/`,
    portalEndpoint: `${base}/`,
    authentication: authentication(base, tenantId),
  };
}

/** What the newer forms say of the cloud. */
function cloud({ base, tenantId, domain, dataPort }: CloudFacts): Record<string, unknown> {
  return {
    name: 'Trivet',
    portal: base,
    resourceManager: base,
    authentication: authentication(base, tenantId),
    graph: `${base}/`,
    graphAudience: `${base}/`,
    microsoftGraphResourceId: `${base}/`,
    batch: `${base}/`,
    gallery: `${base}/`,
    media: `${base}/`,
    sqlManagement: `${base}/`,
    activeDirectoryDataLake: `${base}/`,
    vmImageAliasDoc: `${base}/`,
    // Clients put a dot before these themselves. The ports are part of the suffix; clients append it as it is.
    suffixes: {
      mhsmDns: `${domain}:${dataPort}`,
      keyVaultDns: `vault.localhost:${dataPort}`,
      storage: 'core.localhost',
      sqlServerHostname: 'database.localhost',
      acrLoginServer: 'azurecr.localhost',
      azureDataLakeStoreFileSystem: 'azuredatalakestore.localhost',
      azureDataLakeAnalyticsCatalogAndJob: 'azuredatalakeanalytics.localhost',
    },
  };
}

function authentication(base: string, tenantId: string): Record<string, unknown> {
  // Only the ADFS form of an authority works on a private host for every client.
  return {
    loginEndpoint: `${base}/adfs`,
    audiences: [`${base}/`],
    tenant: tenantId,
    identityProvider: 'ADFS',
  };
}

/**
 * The document in the form of the asked version. A list of clouds came in 2018, one cloud by itself in 2022: Terraform
 * asks for that, puts the tenant behind the address of the login, and knows nothing of ADFS.
 */
export function metadata(facts: CloudFacts, apiVersion: unknown): unknown {
  const version = typeof apiVersion === 'string' ? apiVersion : '';
  if (version < '2018') return endpoints(facts);
  if (version < '2022') return [cloud(facts)];
  const authentication = { audiences: [`${facts.base}/`], tenant: facts.tenantId, identityProvider: 'AAD' };
  return { ...cloud(facts), authentication: { loginEndpoint: facts.base, ...authentication } };
}
