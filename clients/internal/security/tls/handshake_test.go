package tls

import (
	"crypto/tls"
	"testing"
)

// A session that has expired makes room for another one.
func TestSessions(t *testing.T) {
	first, second := &tls.ClientSessionState{}, &tls.ClientSessionState{}
	s := &sessions{wanted: true}
	for _, step := range []struct{ put, want *tls.ClientSessionState }{
		{first, first}, {second, first}, {nil, nil}, {second, second},
	} {
		s.Put("", step.put)
		if got, ok := s.Get(""); got != step.want || ok != (step.want != nil) {
			t.Errorf("%p was put: got %p, want %p", step.put, got, step.want)
		}
	}
	unwanted := &sessions{}
	unwanted.Put("", first)
	if _, ok := unwanted.Get(""); ok {
		t.Error("a session is kept that nobody wants")
	}
}
