package reading

import (
	"math"
	"strings"
	"testing"
)

// kernelWith is a kernel with ends of our connections and with TCP sockets of other
// programs that have so many bytes in their buffers each. Holes is the number of free
// objects in each cache. The figures are those of Linux 6.18 on amd64.
func kernelWith(ends, foreign, buffered, holes int64) System {
	const slab8, slab4 = 8 * page, 4 * page
	objects := 1000 + ends + foreign
	full := func(active, size, perSlab, slab int64) Cache {
		return Cache{
			Bytes: (active + holes + perSlab - 1) / perSlab * slab, Active: active,
			ObjectBytes: size, ShareBytes: float64(slab) / float64(perSlab),
		}
	}
	s := System{
		Memory:  Memory{PageTables: new(int64(8 << 20)), KernelStacks: new(int64(4 << 20))},
		Sockets: Sockets{Allocated: new(300 + ends + foreign), BufferBytes: new(int64(0))},
		Slab: map[string]Cache{
			"TCP":              full(300+ends+foreign, 2368, 13, slab8),
			"sock_inode_cache": full(objects, 832, 19, slab4),
			"filp":             full(objects, 192, 21, page),
			"dentry":           full(objects+50_000, 192, 21, page),
			"ext4_inode_cache": full(50_000, 1128, 14, slab4),
			"eventpoll_epi":    {Bytes: 128 * ends, Active: ends, ObjectBytes: 128, ShareBytes: 128},
		},
	}
	slab := buffered * foreign // large pieces, which no cache serves
	for _, cache := range s.Slab {
		slab += cache.Bytes
	}
	s.Memory.Slab = &slab
	return s
}

// endBytes is what one end takes in kernelWith: an object of each cache.
var endBytes = 8*page/13.0 + 4*page/19.0 + page/21.0 + 192 + 128

// slope is the growth of kernel memory for each of our connections, both ends here.
func slope(before, after System, connections int64) float64 {
	return float64(*after.KernelBytes()-*before.KernelBytes()) / float64(connections)
}

func near(got, want, share float64) bool { return math.Abs(got-want) <= share*math.Abs(want) }

func TestOnlyOurSockets(t *testing.T) {
	const connections = 5_000
	before, after := kernelWith(0, 0, 0, 0), kernelWith(2*connections, 0, 0, 0)
	corrected, foreign := after.WithoutForeign(before, 2*connections, connections, nil)
	if foreign.Sockets == nil || *foreign.Sockets != 0 || foreign.Bytes != 0 || foreign.Doubt != "" {
		t.Errorf("foreign %+v", foreign)
	}
	if got := slope(before, corrected, connections); !near(got, 2*endBytes, 0.001) {
		t.Errorf("%.0f bytes a connection, want %.0f", got, 2*endBytes)
	}
}

// Few foreign sockets are taken out, to what our own connections take.
func TestForeignSocketsAreTakenOut(t *testing.T) {
	const connections = 5_000
	for name, kernel := range map[string]struct{ before, after System }{
		"some came":            {kernelWith(0, 100, 0, 0), kernelWith(2*connections, 1_000, 0, 0)},
		"some went":            {kernelWith(0, 1_000, 0, 0), kernelWith(2*connections, 100, 0, 0)},
		"some went, and holes": {kernelWith(0, 1_000, 0, 0), kernelWith(2*connections, 100, 0, 900)},
	} {
		naive := slope(kernel.before, kernel.after, connections)
		corrected, foreign := kernel.after.WithoutForeign(kernel.before, 2*connections, connections, nil)
		if foreign.Doubt != "" {
			t.Errorf("%s: %s", name, foreign.Doubt)
		}
		if want := *kernel.after.Sockets.Allocated - *kernel.before.Sockets.Allocated - 2*connections; *foreign.Sockets != want {
			t.Errorf("%s: %d foreign sockets, want %d", name, *foreign.Sockets, want)
		}
		if got := slope(kernel.before, corrected, connections); !near(got, 2*endBytes, 0.002) {
			t.Errorf("%s: %.0f bytes a connection, want %.0f; without correction %.0f", name, got, 2*endBytes, naive)
		}
		if got := foreign.Bytes; got != *kernel.after.KernelBytes()-*corrected.KernelBytes() {
			t.Errorf("%s: foreign sockets are said to take %d bytes", name, got)
		}
	}
}

// Trials next to other programs' sockets said 28,579, -142,805 and -144,831 bytes a
// connection, with narrow intervals. Where the sockets of the others are no longer
// few against ours, or have data in them, the point is not to be believed.
func TestForeignSocketsThatForbidBelief(t *testing.T) {
	const connections = 1_000
	for _, test := range []struct {
		naive         float64
		before, after System
		doubt         string
	}{
		{28_579, kernelWith(0, 0, 0, 0), kernelWith(2*connections, 5_512, 0, 0), "grew by 5512, against 2000 ends"},
		{-142_805, kernelWith(0, 39_947, 0, 0), kernelWith(2*connections, 0, 0, 0), "fell by 39947, against 2000 ends"},
		{-144_831, kernelWith(0, 40_484, 0, 0), kernelWith(2*connections, 0, 0, 0), "fell by 40484, against 2000 ends"},
		{28_579, kernelWith(0, 0, 0, 0), kernelWith(2*connections, 150, 134_800, 0), "more than our 2000 ends take"},
	} {
		if got := slope(test.before, test.after, connections); !near(got, test.naive, 0.02) {
			t.Errorf("this scripted host makes %.0f bytes a connection, not %.0f", got, test.naive)
		}
		corrected, foreign := test.after.WithoutForeign(test.before, 2*connections, connections, nil)
		if !strings.Contains(foreign.Doubt, test.doubt) {
			t.Errorf("%.0f: believed as %.0f: %+v", test.naive, slope(test.before, corrected, connections), foreign)
		}
	}
}

func TestForeignSocketsThatCannotBeKnown(t *testing.T) {
	before, after := kernelWith(0, 0, 0, 0), kernelWith(200, 100, 0, 0)
	after.Slab = nil
	if _, foreign := after.WithoutForeign(before, 200, 100, nil); !strings.Contains(foreign.Doubt, "only root can see") {
		t.Errorf("without slab caches: %+v", foreign)
	}
	if _, foreign := after.WithoutForeign(before, 290, 145, nil); foreign.Doubt != "" {
		t.Errorf("ten sockets make a doubt: %+v", foreign)
	}
	after = kernelWith(200, 100, 0, 0)
	after.Sockets.Allocated = nil
	if _, foreign := after.WithoutForeign(before, 200, 100, nil); foreign.Sockets != nil || foreign.Doubt != "" {
		t.Errorf("without a count of sockets: %+v", foreign)
	}
}

// The group was charged for the servers' ends; version 1 leaves the sockets out. Its
// word stands, whatever other programs did.
func TestTheGroupHasTheLastWord(t *testing.T) {
	const connections = 5_000
	const socket = 8 * page / 13.0
	before := kernelWith(0, 0, 0, 0)
	quiet := kernelWith(2*connections, 0, 0, 0)
	disturbed := quiet
	end := connections * endBytes
	disturbed.Memory.PageTables = new(*quiet.Memory.PageTables + int64(end))
	for _, test := range []struct {
		name    string
		after   System
		charged int64
		doubt   string
	}{
		{"with sockets", quiet, int64(end), ""},
		{"without sockets", quiet, int64(end - connections*socket), ""},
		{"many idle sockets of others", kernelWith(2*connections, 3*connections, 0, 0), int64(end), ""},
		{"full sockets of others", kernelWith(2*connections, 900, 100_000, 0), int64(end), "as the servers' control group was charged"},
		{"somebody else's page tables", disturbed, int64(end), "as the servers' control group was charged"},
		{"memory that went elsewhere", quiet, int64(2 * end), "as the servers' control group was charged"},
	} {
		corrected, foreign := test.after.WithoutForeign(before, 2*connections, connections, &Charge{test.charged, connections})
		if (foreign.Doubt != "") != (test.doubt != "") || !strings.Contains(foreign.Doubt, test.doubt) {
			t.Errorf("%s: %.0f bytes a connection, doubt %q, want %q", test.name, slope(before, corrected, connections), foreign.Doubt, test.doubt)
		}
	}
	// A group in which nothing has come says nothing.
	_, foreign := kernelWith(0, 1_000, 0, 0).WithoutForeign(before, 0, 0, &Charge{})
	if !strings.Contains(foreign.Doubt, "grew by 1000") {
		t.Errorf("without connections: %+v", foreign)
	}
}

// Where no end of ours is on the kernel, foreign sockets matter by what they add to each
// connection.
func TestForeignSocketsBesideNoneOfOurs(t *testing.T) {
	before, after := kernelWith(0, 0, 0, 0), kernelWith(0, 300, 0, 0)
	corrected, foreign := after.WithoutForeign(before, 0, 100_000, nil)
	if foreign.Doubt != "" || *foreign.Sockets != 300 {
		t.Errorf("foreign %+v", foreign)
	}
	if got := slope(before, corrected, 100_000); math.Abs(got) > 0.1 {
		t.Errorf("%.2f bytes a connection", got)
	}
	if _, foreign := after.WithoutForeign(before, 0, 1000, nil); foreign.Doubt == "" {
		t.Error("300 foreign sockets beside 1,000 connections are believed")
	}
}
