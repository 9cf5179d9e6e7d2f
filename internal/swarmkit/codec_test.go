package swarmkit

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

func TestTheBytesOfSecretsAreNotKept(t *testing.T) {
	const secret = "the private key"
	spec, err := proto.Marshal(&swarmpb.Secret_Spec{Annotations: &swarmpb.Annotations{Name: "key"}})
	if err != nil {
		t.Fatal(err)
	}
	spec = protowire.AppendTag(spec, 2, protowire.BytesType) // SecretSpec.data
	spec = protowire.AppendString(spec, secret)
	sent := protowire.AppendTag(nil, 3, protowire.BytesType) // Secret.spec
	sent = protowire.AppendBytes(sent, spec)

	received := new(swarmpb.Secret)
	if err := (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(sent)}, received); err != nil {
		t.Fatal(err)
	}
	if got := received.GetSpec().GetAnnotations().GetName(); got != "key" {
		t.Errorf("the secret's name is %q", got)
	}
	again, err := proto.Marshal(received)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(again, []byte(secret)) {
		t.Error("they are in the message that was received")
	}
}
