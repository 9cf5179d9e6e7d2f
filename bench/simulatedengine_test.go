package bench

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
)

// serveDocker serves Docker's API on a socket, as far as a core uses it: as a
// manager that is read, and in which services and secrets are made and changed.
func (s *swarmOutside) serveDocker(b *testing.B, socket string) {
	b.Helper()
	listener, err := net.Listen("unix", socket)
	check(b, err)
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{version}/info", s.info)
	mux.HandleFunc("GET /{version}/services", listOf(s, func() []*swarm.Service { return s.services }))
	mux.HandleFunc("GET /{version}/tasks", listOf(s, func() []*swarm.Task { return s.tasks }))
	mux.HandleFunc("GET /{version}/nodes", listOf(s, func() []*swarm.Node { return s.nodes }))
	mux.HandleFunc("GET /{version}/secrets", listOf(s, func() []*swarm.Secret { return s.secrets }))
	mux.HandleFunc("GET /{version}/networks", listOf(s, func() []int { return nil }))
	mux.HandleFunc("GET /{version}/configs", listOf(s, func() []int { return nil }))
	mux.HandleFunc("GET /{version}/events", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // the reader is told that nothing happens
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /{version}/secrets/create", s.createSecret)
	mux.HandleFunc("POST /{version}/services/create", s.createService)
	mux.HandleFunc("GET /{version}/services/{id}", s.inspectService)
	mux.HandleFunc("POST /{version}/services/{id}/update", s.updateService)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.51")
		mux.ServeHTTP(w, r)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // it ends as it is closed
	}()
	b.Cleanup(func() {
		check(b, server.Close())
		<-ended
	})
}

func (s *swarmOutside) info(w http.ResponseWriter, _ *http.Request) {
	say(w, map[string]any{"Swarm": swarm.Info{
		LocalNodeState: swarm.LocalNodeStateActive, ControlAvailable: true,
		Cluster: &swarm.ClusterInfo{TLSInfo: swarm.TLSInfo{TrustRoot: string(s.authority.PEM())}},
	}})
}

// say's error is the reader's, who has gone.
func say(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func listOf[T any](s *swarmOutside, list func() []T) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		now := slices.Clone(list())
		s.mu.Unlock()
		sayList(w, now)
	}
}

// sayList stops where the reader has gone, and holds no more than one element.
func sayList[T any](w io.Writer, list []T) {
	separator, encoder := "[", json.NewEncoder(w)
	for _, element := range list {
		if _, err := io.WriteString(w, separator); err != nil {
			return
		}
		if err := encoder.Encode(element); err != nil {
			return
		}
		separator = ","
	}
	if len(list) == 0 {
		_, _ = io.WriteString(w, "[") // its error is the reader's
	}
	_, _ = io.WriteString(w, "]")
}

func refuse(w http.ResponseWriter, err error) {
	http.Error(w, `{"message":`+strconv.Quote(err.Error())+`}`, http.StatusBadRequest)
}

func (s *swarmOutside) createSecret(w http.ResponseWriter, r *http.Request) {
	var spec swarm.SecretSpec
	if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
		refuse(w, err)
		return
	}
	s.mu.Lock()
	secret := &swarm.Secret{ID: s.id(), Meta: swarm.Meta{CreatedAt: time.Now()}, Spec: swarm.SecretSpec{Annotations: spec.Annotations}}
	s.secrets = append(s.secrets, secret)
	s.data[secret.ID] = spec.Data
	s.writes++
	s.mu.Unlock()
	s.kit.Put(kitSecret(secret))
	say(w, swarm.SecretCreateResponse{ID: secret.ID})
}

func (s *swarmOutside) createService(w http.ResponseWriter, r *http.Request) {
	service := &swarm.Service{Meta: swarm.Meta{CreatedAt: time.Now()}}
	if err := json.NewDecoder(r.Body).Decode(&service.Spec); err != nil {
		refuse(w, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	service.ID = s.id()
	s.tell(service)
	s.services = append(s.services, service)
	say(w, swarm.ServiceCreateResponse{ID: service.ID})
	select {
	case s.created <- service:
	default: // more than are configured, which the count of writes shows
	}
}

// secret is what a secret holds, which only those that it is for get in Swarm.
func (s *swarmOutside) secret(id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[id]
}

// tell announces a service, which so gets its version. It needs mu.
func (s *swarmOutside) tell(service *swarm.Service) {
	object := kitService(service)
	s.kit.Put(object)
	service.Version.Index = object.GetService().GetMeta().GetVersion().GetIndex()
	s.writes++
}

// kept finds a service that the core has made. It needs mu.
func (s *swarmOutside) kept(r *http.Request) (place int, found bool) {
	i := slices.IndexFunc(s.services[manyServices:], func(v *swarm.Service) bool { return v.ID == r.PathValue("id") })
	return manyServices + i, i >= 0
}

func (s *swarmOutside) inspectService(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, found := s.kept(r); found {
		say(w, s.services[i])
		return
	}
	http.NotFound(w, r)
}

func (s *swarmOutside) updateService(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.kept(r)
	if !found {
		http.NotFound(w, r)
		return
	}
	next := *s.services[i]
	next.Spec = swarm.ServiceSpec{}
	if err := json.NewDecoder(r.Body).Decode(&next.Spec); err != nil {
		refuse(w, err)
		return
	}
	s.tell(&next)
	s.services[i] = &next
	say(w, swarm.ServiceUpdateResponse{})
}
