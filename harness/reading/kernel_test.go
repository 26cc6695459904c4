package reading

import "testing"

const page = 4096

func TestKernelMemory(t *testing.T) {
	const mib, held = 1 << 20, 2 << 20
	base := System{
		Memory:  Memory{Slab: new(int64(100 * mib)), PageTables: new(int64(3 * mib)), KernelStacks: new(int64(2 * mib))},
		Sockets: Sockets{HeldBackBytes: held},
	}
	caches := func(sizes map[string]int64) map[string]Cache {
		caches := map[string]Cache{}
		for name, bytes := range sizes {
			caches[name] = Cache{Bytes: bytes}
		}
		return caches
	}
	for _, test := range []struct {
		name   string
		change func(*System)
		want   int64
	}{
		{"caches unknown", func(*System) {}, 105 * mib},
		{"buffers that the CPUs may hold back", func(s *System) {
			s.Sockets.BufferBytes = new(int64(held))
		}, 105 * mib},
		{"buffers beyond that", func(s *System) {
			s.Sockets.BufferBytes = new(int64(held + 7*mib))
		}, 112 * mib},
		{"buffers partly in slab caches", func(s *System) {
			s.Sockets.BufferBytes = new(int64(held + 7*mib))
			s.Slab = caches(map[string]int64{"skbuff_head_cache": 4 * mib, "skbuff_small_head": 1 * mib, "TCP": 50 * mib})
		}, 107 * mib},
		{"file systems left out", func(s *System) {
			s.Slab = caches(map[string]int64{"ext4_inode_cache": 59 * mib, "dentry": 1 * mib, "buffer_head": 1 * mib, "TCP": 10 * mib, "sock_inode_cache": 5 * mib})
		}, 44 * mib},
		{"sum of caches ahead of meminfo", func(s *System) {
			s.Slab = caches(map[string]int64{"TCP": 101 * mib})
		}, 106 * mib},
	} {
		system := base
		test.change(&system)
		is(t, test.name, system.KernelBytes(), test.want)
	}
}

// Two ends of a connection take two directory entries of 192 bytes, whatever
// becomes of the entries of files meanwhile. Files that went out of use leave
// holes in the slabs of their inodes and of their entries; whole slabs minus
// active inodes once made -213 bytes a connection of that.
func TestDirectoryEntriesOfSockets(t *testing.T) {
	const connections, files, perSlab = 18_000, 60_000, 21
	empty := System{Slab: map[string]Cache{
		"dentry":           {Active: files + 500, Bytes: (files + 500) / perSlab * page, ObjectBytes: 192},
		"ext4_inode_cache": {Active: files},
	}}
	for name, after := range map[string]System{
		"nothing else": {Slab: map[string]Cache{
			"dentry":           {Active: files + 500 + 2*connections, Bytes: (files + 500 + 2*connections) / perSlab * page, ObjectBytes: 192},
			"ext4_inode_cache": {Active: files},
		}},
		"files let go": {Slab: map[string]Cache{
			"dentry":           {Active: files/2 + 500 + 2*connections, Bytes: (files + 500) / perSlab * page, ObjectBytes: 192},
			"ext4_inode_cache": {Active: files / 2},
		}},
		"files read": {Slab: map[string]Cache{
			"dentry":           {Active: 3*files + 500 + 2*connections, Bytes: 4 * files / perSlab * page, ObjectBytes: 192},
			"ext4_inode_cache": {Active: 3 * files},
		}},
		"files looked for in vain": {NegativeDentries: new(int64(7000)), Slab: map[string]Cache{
			"dentry":           {Active: files + 500 + 2*connections + 7000, Bytes: 2 * files / perSlab * page, ObjectBytes: 192},
			"ext4_inode_cache": {Active: files},
		}},
	} {
		if got := (after.Kernel()["slab:dentry"] - empty.Kernel()["slab:dentry"]) / connections; got != 384 {
			t.Errorf("%s: %d bytes a connection, want 384", name, got)
		}
	}
}
