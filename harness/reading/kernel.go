package reading

import (
	"strings"
)

// Cache is a slab cache: kernel memory for objects of one kind.
type Cache struct {
	// Bytes is its memory in whole slabs, free objects included.
	Bytes int64 `json:"bytes"`
	// Active is the number of objects in use. The kernel also counts the free
	// objects of the slabs that its CPUs allocate from at the moment.
	Active int64 `json:"active"`
	// ObjectBytes is the size of an object, ShareBytes its share of a full slab.
	ObjectBytes int64   `json:"object_bytes"`
	ShareBytes  float64 `json:"share_bytes"`
}

// Kernel is the host's kernel memory by kind, in bytes: each slab cache as
// "slab:NAME", large allocations that no cache serves as "slab:large",
// "tcp_buffers", "page_tables" and "kernel_stacks". Caches of file systems are
// left out: they grow with the files that somebody reads, writes or looks up. So
// is the part of "dentry" and "lsm_inode_cache" that belongs to files. Where the
// caches are not known, one kind "slab" replaces them. Kinds overlap: see
// [System.KernelBytes].
func (s System) Kernel() map[string]int64 {
	kinds := map[string]int64{}
	put := func(kind string, value *int64) {
		if value != nil {
			kinds[kind] = *value
		}
	}
	put("tcp_buffers", s.Sockets.BufferBytes)
	put("page_tables", s.Memory.PageTables)
	put("kernel_stacks", s.Memory.KernelStacks)
	if s.Slab == nil {
		put("slab", s.Memory.Slab)
		return kinds
	}
	var caches int64
	files := s.fileInodes()
	for name, cache := range s.Slab {
		caches += cache.Bytes
		switch {
		case ofFileSystem(name):
		case name == dentries:
			kinds["slab:"+name] = max(0, cache.Active-files-valueOf(s.NegativeDentries)) * cache.ObjectBytes
		case name == inodeLabels:
			kinds["slab:"+name] = max(0, cache.Active-files) * cache.ObjectBytes
		default:
			kinds["slab:"+name] = cache.Bytes
		}
	}
	if s.Memory.Slab != nil {
		kinds["slab:large"] = max(0, *s.Memory.Slab-caches)
	}
	return kinds
}

// Caches with an object for each inode that is in use, of a file or of a socket:
// directory entries, and what security modules note of an inode.
const (
	dentries    = "dentry"
	inodeLabels = "lsm_inode_cache"
)

// fileInodes is the number of inodes in use that are not sockets'. Active objects
// are taken from active objects: whole slabs have free objects, which would be
// taken for inodes whenever somebody lets go of many files.
func (s System) fileInodes() (files int64) {
	for name, cache := range s.Slab {
		if inodesOfFiles(name) {
			files += cache.Active
		}
	}
	return files
}

// ofFileSystem is true for caches that grow with files read and written. The
// run's own records and other programs of the host cause that, not connections.
func ofFileSystem(cache string) bool {
	switch cache {
	case "buffer_head", "radix_tree_node", "extent_status":
		return true
	}
	return inodesOfFiles(cache)
}

// inodesOfFiles is true for caches of inodes that are not sockets'. The cache of
// /proc is one: a program that lists the descriptors of a process adds an inode for
// each.
func inodesOfFiles(cache string) bool {
	switch cache {
	case "sock_inode_cache", inodeLabels:
		return false
	}
	return strings.HasSuffix(cache, "inode_cache") || strings.HasSuffix(cache, "_inode")
}

// KernelBytes is the sum of all kinds of [System.Kernel] without counting twice. The
// kernel charges TCP buffers in whole pages, and each CPU may hold some back,
// and with the slab memory of their heads; only what exceeds both is added.
// KernelBytes is nil if slab, page tables or kernel stacks are unknown.
func (s System) KernelBytes() *int64 {
	if s.Memory.Slab == nil || s.Memory.PageTables == nil || s.Memory.KernelStacks == nil {
		return nil
	}
	var sum int64
	buffers := -s.Sockets.HeldBackBytes
	for kind, bytes := range s.Kernel() {
		if kind == "tcp_buffers" {
			buffers += bytes
			continue
		}
		if strings.HasPrefix(kind, "slab:skbuff_") {
			buffers -= bytes
		}
		sum += bytes
	}
	sum += max(0, buffers)
	return &sum
}

func valueOf(figure *int64) int64 {
	if figure == nil {
		return 0
	}
	return *figure
}
