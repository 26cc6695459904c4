package live

import "testing"

// What is secret is not in a run's command, and the rest is.
func TestPublished(t *testing.T) {
	const url = "ws://h/chat?token=x"
	got := published([]string{"attach", "--header", "Authorization: Bearer x", "--header=Cookie: a=b", "--subprotocol", "token.x", "--say=x", "--origin", "http://x", url, "--connections", "5"}, url)
	if want := "connbench attach --header 'Authorization: …' '--header=Cookie: …' --subprotocol '…' '--say=…' --origin '…' 'ws://h/chat?…' --connections 5"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
