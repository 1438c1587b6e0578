// The quickstart with kafkajs: one line a check.
"use strict";

const { Kafka, CompressionTypes, ConfigResourceTypes, ConfigSource, logLevel } = require("kafkajs");
const [bootstrap, runId] = process.argv.slice(2);
const kafka = new Kafka({ clientId: "millrace-kafkajs", brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 5 } });
const topic = `js-${runId}`;
const group = `js-group-${runId}`;
const admin = kafka.admin();

const checks = {
  async "create-topic"() {
    await admin.connect();
    same(true, await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true }));
    same(false, await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }));
  },
  async "list-topics"() {
    that((await admin.listTopics()).includes(topic), "not listed");
  },
  async "describe-topic"() {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    same(3, topics[0].partitions.length);
  },
  async "describe-cluster"() {
    const { brokers, clusterId } = await admin.describeCluster();
    same(1, brokers.length);
    same(22, clusterId.length);
  },
  async "produce"() {
    await produce(range(0, 300));
    const offsets = await admin.fetchTopicOffsets(topic);
    same(300, offsets.reduce((sum, one) => sum + Number(one.high), 0));
  },
  async "consume-from-the-beginning"() {
    const found = await consume(`${group}-all`, 300);
    same(range(0, 300).join(), found.map(Number).sort((a, b) => a - b).join());
  },
  async "group-commit"() {
    same(300, (await consume(group, 300)).length);
    const offsets = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    same(300, offsets[0].partitions.reduce((sum, one) => sum + Number(one.offset), 0));
  },
  async "group-resume"() {
    await produce(range(300, 320));
    const found = await consume(group, 20, 1000);
    same(range(300, 320).join(), found.map(Number).sort((a, b) => a - b).join());
  },
  async "compression-gzip"() {
    const name = `${topic}-gzip`;
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] });
    await produce(range(0, 200), name, { compression: CompressionTypes.GZIP });
    same(200, (await consume(`${group}-gzip`, 200, 0, name)).length);
  },
  async "idempotent-producer"() {
    const name = `${topic}-idempotent`;
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] });
    await produce(range(0, 50), name, {}, { idempotent: true, maxInFlightRequests: 1 });
    same(range(0, 50).join(), (await consume(`${group}-idempotent`, 50, 0, name)).join());
  },
  async "headers"() {
    const name = `${topic}-headers`;
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] });
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: name, messages: [{ key: "k", value: null, headers: { a: "1", b: ["2", "3"] } }] });
    await producer.disconnect();
    const [message] = await consume(`${group}-headers`, 1, 0, name, (one) => one);
    same(null, message.value);
    same("1", message.headers.a.toString());
    same("2,3", message.headers.b.join());
  },
  async "seek"() {
    const consumer = kafka.consumer({ groupId: `${group}-seek`, sessionTimeout: 10000 });
    const found = [];
    await consumer.connect();
    await consumer.subscribe({ topic: `${topic}-gzip` });
    await consumer.run({ eachMessage: async ({ message }) => found.push(Number(message.offset)) });
    consumer.seek({ topic: `${topic}-gzip`, partition: 0, offset: "190" });
    await until(() => found.length >= 10);
    await consumer.disconnect();
    same(range(190, 200).join(), found.join());
  },
  async "two-members"() {
    const owned = [0, 0];
    const members = [0, 1].map((i) => {
      const consumer = kafka.consumer({ groupId: `${group}-two`, sessionTimeout: 10000, heartbeatInterval: 300 });
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { owned[i] = (payload.memberAssignment[topic] || []).length; });
      return consumer;
    });
    for (const consumer of members) {
      await consumer.connect();
      await consumer.subscribe({ topic });
      await consumer.run({ eachMessage: async () => {} });
    }
    await until(() => owned[0] > 0 && owned[1] > 0 && owned[0] + owned[1] === 3);
    await members[0].disconnect();
    await until(() => owned[1] === 3);
    await members[1].disconnect();
  },
  async "configs"() {
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "1000000" }] }] });
    await until(async () => {
      const { resources } = await admin.describeConfigs({ resources: [resource] });
      const found = resources[0].configEntries.find((one) => one.configName === "retention.ms");
      return found.configValue === "1000000" && found.configSource === ConfigSource.TOPIC_CONFIG;
    });
  },
  async "create-partitions"() {
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
    await until(async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 5);
  },
  async "offsets-by-time"() {
    const offsets = await admin.fetchTopicOffsetsByTimestamp(`${topic}-gzip`, 0);
    same("0", offsets[0].offset);
  },
  async "delete-records"() {
    await admin.deleteTopicRecords({ topic: `${topic}-gzip`, partitions: [{ partition: 0, offset: "5" }] });
    const [offsets] = await admin.fetchTopicOffsets(`${topic}-gzip`);
    same("5", offsets.low);
  },
  async "groups"() {
    const { groups } = await admin.listGroups();
    that(groups.some((one) => one.groupId === group), "not listed");
    const described = await admin.describeGroups([group]);
    same("Empty", described.groups[0].state);
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: "1" }] });
    const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    same("1", found.partitions.find((one) => one.partition === 0).offset);
    const deleted = await admin.deleteGroups([group]);
    same(0, deleted[0].errorCode);
  },
  async "delete-topic"() {
    await admin.deleteTopics({ topics: [topic] });
    await until(async () => !(await admin.listTopics()).includes(topic));
    await admin.disconnect();
  },
};

function range(from, to) {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function that(good, otherwise) {
  if (!good) throw new Error(otherwise);
}

function same(wanted, found) {
  that(wanted === found, `wanted ${wanted}, found ${found}`);
}

async function until(condition, limitMs = 20000) {
  const end = Date.now() + limitMs;
  while (!(await condition())) {
    that(Date.now() < end, "it did not come about");
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function produce(numbers, to = topic, how = {}, settings = {}) {
  const producer = kafka.producer(settings);
  await producer.connect();
  await producer.send({ topic: to, acks: -1, ...how, messages: numbers.map((n) => ({ key: `key-${n}`, value: `${n}` })) });
  await producer.disconnect();
}

// Reads `count` messages in a group from its committed offsets, or the beginning, and commits what it read.
async function consume(groupId, count, lingerMs = 0, from = topic, take = (message) => message.value.toString()) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000 });
  const found = [];
  await consumer.connect();
  await consumer.subscribe({ topic: from, fromBeginning: true });
  await consumer.run({ eachMessage: async ({ message }) => found.push(take(message)) });
  await until(() => found.length >= count);
  await new Promise((done) => setTimeout(done, lingerMs));
  await consumer.disconnect();
  return found;
}

async function main() {
  for (const [name, body] of Object.entries(checks)) {
    let timer;
    const limit = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error("no end within 60 s")), 60000); });
    try {
      await Promise.race([body(), limit]);
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAIL ${name} ${String(error).replace(/\s+/g, " ")}`);
    } finally {
      clearTimeout(timer);
    }
  }
  process.exit(0);
}

main();
