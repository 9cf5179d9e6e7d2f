package wire

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
)

// ParametersMessage is what the operator configured as it travels. It fails on a
// value that render.Parameters does not promise, naming its key.
func ParametersMessage(p render.Parameters) (*interlockv1.ProxyParameters, error) {
	config := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(p.Config))}
	for _, key := range slices.Sorted(maps.Keys(p.Config)) {
		value, err := structpb.NewValue(p.Config[key])
		if err != nil {
			return nil, fmt.Errorf("key Config.%s: %w", key, err)
		}
		config.Fields[key] = value
	}
	return &interlockv1.ProxyParameters{
		Port: uint32(p.Port), SslPort: uint32(p.SSLPort), ConfigPath: p.ConfigPath, Config: config,
		PublishedSslPort: uint32(p.PublishedSSLPort), MountedCredentials: p.MountedCredentials, Agentless: p.Agentless,
	}, nil
}

// Parameters reads what the operator configured. Numbers arrive as float64.
func Parameters(message *interlockv1.ProxyParameters) (render.Parameters, error) {
	var p render.Parameters
	port, sslPort, published := message.GetPort(), message.GetSslPort(), message.GetPublishedSslPort()
	if max(port, sslPort, published) > math.MaxUint16 {
		return p, fmt.Errorf("ports %d, %d and %d: a port is at most %d", port, sslPort, published, math.MaxUint16)
	}
	p.Port, p.SSLPort, p.PublishedSSLPort = uint16(port), uint16(sslPort), uint16(published)
	p.ConfigPath, p.MountedCredentials = message.GetConfigPath(), message.GetMountedCredentials()
	p.Agentless = message.GetAgentless()
	if p.ConfigPath != "" && (!path.IsAbs(p.ConfigPath) || path.Clean(p.ConfigPath) != p.ConfigPath) {
		return p, fmt.Errorf("configuration path %q: it must be absolute and without detours", p.ConfigPath)
	}
	fields := message.GetConfig().GetFields()
	p.Config = make(map[string]any, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value, err := readValue(fields[key])
		if err != nil {
			return p, fmt.Errorf("key Config.%s: %w", key, err)
		}
		p.Config[key] = value
	}
	return p, nil
}

func readValue(message *structpb.Value) (any, error) {
	switch kind := message.GetKind().(type) {
	case *structpb.Value_StringValue:
		return kind.StringValue, nil
	case *structpb.Value_BoolValue:
		return kind.BoolValue, nil
	case *structpb.Value_NumberValue:
		if !math.IsNaN(kind.NumberValue) && !math.IsInf(kind.NumberValue, 0) {
			return kind.NumberValue, nil
		}
	case *structpb.Value_ListValue:
		return readTexts(kind.ListValue)
	}
	return nil, errors.New("it is neither a text, a finite number, true or false, nor a list of texts")
}

func readTexts(message *structpb.ListValue) ([]any, error) {
	texts := make([]any, 0, len(message.GetValues()))
	for i, m := range message.GetValues() {
		if _, ok := m.GetKind().(*structpb.Value_StringValue); !ok {
			return nil, fmt.Errorf("element %d of the list is not a text", i)
		}
		texts = append(texts, m.GetStringValue())
	}
	return texts, nil
}
