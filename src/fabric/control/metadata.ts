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

/** The newer form, a list of clouds with one in it. */
function clouds({ base, tenantId, domain, dataPort }: CloudFacts): Record<string, unknown>[] {
  return [
    {
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
    },
  ];
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

/** The document in the form of the asked version; the list came in 2018. */
export function metadata(facts: CloudFacts, apiVersion: unknown): unknown {
  const version = typeof apiVersion === 'string' ? apiVersion : '';
  return version >= '2018' ? clouds(facts) : endpoints(facts);
}
