package registry

import (
	"strings"
	"testing"
)

func TestRegistry(t *testing.T) {
	r := New[int]("number")
	r.Add("two", 2)
	r.Add("one", 1)
	if n, err := r.Find("two"); n != 2 || err != nil {
		t.Errorf("two is %d, %v", n, err)
	}
	if _, err := r.Find("three"); err == nil || err.Error() != `unknown number "three"; there are: one, two` {
		t.Errorf("three: %v", err)
	}
	for _, name := range []string{"one", ""} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "cannot be added") {
					t.Errorf("adding %q panics with %q", name, text)
				}
			}()
			r.Add(name, 3)
		}()
	}
}
