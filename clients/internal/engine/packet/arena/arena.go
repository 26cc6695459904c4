// Package arena is memory that is not Go's: laid out for the most that may be needed,
// of which only what is used becomes resident.
package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reserve returns zeroed memory that is not Go's, and of which only what is
// touched becomes resident.
func Reserve[T any](n int) ([]T, error) {
	var zero T
	bytes, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(zero)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&bytes[0])), n), nil
}

// Release gives back what Reserve returned.
func Release[T any](list []T) {
	var zero T
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(unsafe.Sizeof(zero)))
	unix.Munmap(bytes)
}
