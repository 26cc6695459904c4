package agent

import (
	"slices"
	"strings"
	"testing"
)

func TestForeign(t *testing.T) {
	c := dial(t)
	got, err := c.Foreign(t.Context(), []string{"127.0.0.1", "192.0.2.1", "127.17.0.0/24", "192.0.2.0/28"})
	if want := []string{"192.0.2.1", "192.0.2.0/28"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("foreign are %v, want %v; error %v", got, want, err)
	}
	if _, err := c.Foreign(t.Context(), []string{"nowhere"}); err == nil {
		t.Error("no error of what is no address")
	}
	if next, err := c.Gateway(t.Context(), "127.0.0.1"); err != nil || next != "" {
		t.Errorf("the way to an address of its own leads by %q, error %v", next, err)
	}
}

func TestConnect(t *testing.T) {
	c := dial(t)
	targets, err := c.Listen(t.Context(), []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Connect(t.Context(), []string{"127.17.0.0/24", "192.0.2.1"}, targets)
	if err != nil || got.Tried != 64+1 || got.Failed != 1 || !strings.Contains(got.Why[0], "from 192.0.2.1 to 127.0.0.1:") {
		t.Errorf("%+v, error %v", got, err)
	}
	if _, err := c.Listen(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got, err = c.Connect(t.Context(), []string{"127.17.0.1"}, targets); err != nil || got.Failed != 1 || !strings.Contains(got.Why[0], "refused") {
		t.Errorf("when nobody listens: %+v, error %v", got, err)
	}
	if _, err := c.Listen(t.Context(), []string{"192.0.2.1"}); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("error %v", err)
	}
}
