// Microsoft's own clients, driven by a test: one request a line on standard input, one answer a line
// on standard output. A request is {"on": "arm"|"blobs"|"token", "call": "a.b", "args": [...]}; what a
// method gives is awaited, and collected page by page where it is a list.
"use strict";

const readline = require("readline");
const { AzureMachineLearningWorkspaces } = require("@azure/arm-machinelearning");
const { ClientSecretCredential, DeviceCodeCredential, ClientCertificateCredential } = require("@azure/identity");
const { BlobServiceClient, StorageSharedKeyCredential } = require("@azure/storage-blob");

const given = JSON.parse(process.argv[2]);
const authority = { authorityHost: given.endpoint, disableInstanceDiscovery: true };
const codes = [];

function makeCredential() {
  const { tenant, client, secret, certificate } = given;
  if (certificate) return new ClientCertificateCredential(tenant, client, certificate, authority);
  if (secret) return new ClientSecretCredential(tenant, client, secret, authority);
  return new DeviceCodeCredential({ tenantId: tenant, ...authority, userPromptCallback: (info) => codes.push(info) });
}

const credential = makeCredential();
const arm = new AzureMachineLearningWorkspaces(credential, given.subscription, { endpoint: given.endpoint });

// Over http nobody gets a bearer token; accounts are told apart by the path.
function blobs(account, key) {
  const how = key ? new StorageSharedKeyCredential(account, key) : credential;
  return new BlobServiceClient(`${given.blobs || given.endpoint}/${account}`, how);
}

async function collect(list) {
  const pages = [];
  for await (const page of list.byPage()) pages.push([...page]);
  return { pages };
}

async function callArm({ call, args }) {
  const [group, method] = call.split(".");
  const result = arm[group][method](...args);
  return result && result.byPage ? collect(result) : await result;
}

const blobCalls = {
  async upload(container, name, text, blockSize) {
    const data = Buffer.from(text, "base64");
    const blob = container.getBlockBlobClient(name);
    const how = blockSize ? { blockSize, maxSingleShotSize: blockSize } : {};
    return (await blob.uploadData(data, how)).etag;
  },
  async download(container, name) {
    return (await container.getBlobClient(name).downloadToBuffer()).toString("base64");
  },
  async list(container, prefix) {
    const found = [];
    for await (const item of container.listBlobsFlat({ prefix, includeMetadata: true }))
      found.push([item.name, item.properties.contentLength, item.metadata || {}]);
    return found;
  },
  async metadata(container, name, values) {
    const blob = container.getBlobClient(name);
    if (values) await blob.setMetadata(values);
    return (await blob.getProperties()).metadata;
  },
  async remove(container, name) {
    await container.getBlobClient(name).delete();
  },
};

async function callBlobs({ call, account, key, container, args }) {
  return blobCalls[call](blobs(account, key).getContainerClient(container), ...args);
}

async function callToken({ call, args }) {
  if (call === "codes") return codes;
  return credential.getToken(...args);
}

const on = { arm: callArm, blobs: callBlobs, token: callToken };

function describe(error) {
  const { name, statusCode, code, message } = error;
  return { name, statusCode, code, message };
}

async function answer(line) {
  const request = JSON.parse(line);
  let reply;
  try {
    const result = await on[request.on](request);
    reply = { result: result === undefined ? null : result };
  } catch (error) {
    reply = { error: describe(error) };
  }
  process.stdout.write(JSON.stringify({ id: request.id, ...reply }) + "\n");
}

readline.createInterface({ input: process.stdin }).on("line", answer).on("close", () => process.exit(0));
