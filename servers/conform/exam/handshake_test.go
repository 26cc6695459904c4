package exam

import "testing"

func TestAccept(t *testing.T) {
	// The example of RFC 6455 section 1.3.
	if got, want := AcceptOf(ExampleKey), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
