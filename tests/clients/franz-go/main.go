// The quickstart with franz-go: one line a check.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap = os.Args[1]
	topic     = "go-" + os.Args[2]
	group     = "go-group-" + os.Args[2]
	admin     *kadm.Client
)

func main() {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		fmt.Println("FAIL client", err)
		os.Exit(1)
	}
	admin = kadm.NewClient(client)
	check("create-topic", createTopic)
	check("list-topics", listTopics)
	check("describe-cluster", describeCluster)
	check("produce-idempotent", func(ctx context.Context) error { return produce(ctx, topic, 0, 300) })
	check("consume-from-the-beginning", consumeAll)
	check("group-commit", groupCommit)
	check("group-resume", groupResume)
	check("compression", compression)
	check("offsets", offsets)
	check("group-lag", groupLag)
	check("configs", configs)
	check("create-partitions", createPartitions)
	check("delete-records", deleteRecords)
	check("cooperative-members", cooperativeMembers)
	check("epoch-end-offsets", epochEnd)
	check("delete-group", deleteGroup)
	check("delete-topic", deleteTopic)
}

func check(name string, body func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := body(ctx); err != nil {
		fmt.Println("FAIL", name, strings.Join(strings.Fields(err.Error()), " "))
		return
	}
	fmt.Println("ok", name)
}

func same[T comparable](what string, wanted, found T) error {
	if wanted != found {
		return fmt.Errorf("%s: wanted %v, found %v", what, wanted, found)
	}
	return nil
}

func createTopic(ctx context.Context) error {
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, topic); err != nil {
		return err
	}
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("created twice: %v", err)
	}
	return nil
}

func listTopics(ctx context.Context) error {
	found, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	return same("partitions", 3, len(found[topic].Partitions))
}

func describeCluster(ctx context.Context) error {
	found, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	return errors.Join(same("brokers", 1, len(found.Brokers)), same("cluster id", 22, len(found.Cluster)))
}

func produce(ctx context.Context, to string, from, until int, options ...kgo.Opt) error {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(to))...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for i := from; i < until; i++ {
		records = append(records, kgo.KeyStringRecord(fmt.Sprint("key-", i), fmt.Sprintf("%05d", i)))
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// read takes `count` values, and any more that come within `linger`.
func read(ctx context.Context, client *kgo.Client, count int, linger time.Duration) ([]string, error) {
	var found []string
	for len(found) < count || linger > 0 {
		wait := 20 * time.Second
		if len(found) >= count {
			wait, linger = linger, 0
		}
		limited, cancel := context.WithTimeout(ctx, wait)
		fetches := client.PollFetches(limited)
		late := limited.Err() != nil
		cancel()
		fetches.EachRecord(func(record *kgo.Record) { found = append(found, string(record.Value)) })
		if late && len(found) < count {
			return found, fmt.Errorf("%d of %d came", len(found), count)
		}
		if err := fetches.Err0(); err != nil && !late {
			return found, err
		}
	}
	return found, nil
}

func wanted(from, until int) string {
	var values []string
	for i := from; i < until; i++ {
		values = append(values, fmt.Sprintf("%05d", i))
	}
	return strings.Join(values, " ")
}

func sorted(values []string) string {
	sort.Strings(values)
	return strings.Join(values, " ")
}

func consumeAll(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := read(ctx, client, 300, 0)
	return errors.Join(err, same("values", wanted(0, 300), sorted(found)))
}

func member(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit())...)
}

func groupCommit(ctx context.Context) error {
	client, err := member()
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := read(ctx, client, 300, 0); err != nil {
		return err
	}
	return client.CommitUncommittedOffsets(ctx)
}

func groupResume(ctx context.Context) error {
	if err := produce(ctx, topic, 300, 320); err != nil {
		return err
	}
	client, err := member()
	if err != nil {
		return err
	}
	defer client.Close()
	found, err := read(ctx, client, 20, time.Second)
	if err != nil {
		return err
	}
	return errors.Join(same("values", wanted(300, 320), sorted(found)), client.CommitUncommittedOffsets(ctx))
}

func compression(ctx context.Context) error {
	codecs := map[string]kgo.CompressionCodec{"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for name, codec := range codecs {
		to := topic + "-" + name
		if _, err := admin.CreateTopic(ctx, 1, 1, nil, to); err != nil {
			return err
		}
		if err := produce(ctx, to, 0, 200, kgo.ProducerBatchCompression(codec)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(to))
		if err != nil {
			return err
		}
		found, err := read(ctx, client, 200, 0)
		client.Close()
		if err := errors.Join(err, same(name, wanted(0, 200), strings.Join(found, " "))); err != nil {
			return err
		}
	}
	return nil
}

func offsets(ctx context.Context) error {
	to := topic + "-gzip"
	start, err := admin.ListStartOffsets(ctx, to)
	end, err2 := admin.ListEndOffsets(ctx, to)
	at, err3 := admin.ListOffsetsAfterMilli(ctx, 0, to)
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	return errors.Join(same("start", 0, start[to][0].Offset), same("end", 200, end[to][0].Offset), same("at", 0, at[to][0].Offset))
}

func groupLag(ctx context.Context) error {
	found, err := admin.Lag(ctx, group)
	if err != nil {
		return err
	}
	if err := found.Error(); err != nil {
		return err
	}
	return errors.Join(same("lag", 0, found[group].Lag.Total()), same("state", "Empty", found[group].State))
}

func configs(ctx context.Context) error {
	value := "1000000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
	if err != nil || altered[0].Err != nil {
		return errors.Join(err, altered[0].Err)
	}
	return eventually(func() bool {
		found, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil || len(found) == 0 {
			return false
		}
		for _, config := range found[0].Configs {
			if config.Key == "retention.ms" {
				return config.MaybeValue() == value
			}
		}
		return false
	})
}

func eventually(condition func() bool) error {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if condition() {
			return nil
		}
	}
	return errors.New("it did not come about")
}

func createPartitions(ctx context.Context) error {
	if _, err := admin.UpdatePartitions(ctx, 5, topic); err != nil {
		return err
	}
	return eventually(func() bool {
		found, err := admin.ListTopics(ctx, topic)
		return err == nil && len(found[topic].Partitions) == 5
	})
}

func deleteRecords(ctx context.Context) error {
	to := topic + "-gzip"
	cut := make(kadm.Offsets)
	cut.Add(kadm.Offset{Topic: to, Partition: 0, At: 10, LeaderEpoch: -1})
	found, err := admin.DeleteRecords(ctx, cut)
	if err != nil {
		return err
	}
	return errors.Join(found[to][0].Err, same("low watermark", 10, found[to][0].LowWatermark))
}

func cooperativeMembers(ctx context.Context) error {
	name := group + "-two"
	var clients []*kgo.Client
	defer func() {
		for _, client := range clients {
			client.Close()
		}
	}()
	for range 2 {
		client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(name),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(300*time.Millisecond))
		if err != nil {
			return err
		}
		clients = append(clients, client)
		go func() {
			for client.PollFetches(ctx).Err0() == nil {
			}
		}()
	}
	return eventually(func() bool {
		found, err := admin.DescribeGroups(ctx, name)
		if err != nil || found[name].State != "Stable" || len(found[name].Members) != 2 {
			return false
		}
		partitions := 0
		for _, one := range found[name].Members {
			assignment, ok := one.Assigned.AsConsumer()
			if !ok || len(assignment.Topics) == 0 {
				return false
			}
			for _, of := range assignment.Topics {
				partitions += len(of.Partitions)
			}
		}
		return partitions == 5
	})
}

func epochEnd(ctx context.Context) error {
	var request kadm.OffsetForLeaderEpochRequest
	request.Add(topic+"-gzip", 0, 0)
	found, err := admin.OffsetForLeaderEpoch(ctx, request)
	if err != nil {
		return err
	}
	one := found[topic+"-gzip"][0]
	return errors.Join(one.Err, same("end", 200, one.EndOffset))
}

func deleteGroup(ctx context.Context) error {
	_, err := admin.DeleteGroup(ctx, group)
	return err
}

func deleteTopic(ctx context.Context) error {
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		return err
	}
	return eventually(func() bool {
		found, err := admin.ListTopics(ctx)
		return err == nil && !found.Has(topic)
	})
}
