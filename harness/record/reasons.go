package record

// Reasons for which a ramp ends: a closed list, each the name of one limit.
// Stop.Evidence holds the facts behind it.
const (
	ReasonTarget            = "target"              // every connection asked for is open
	ReasonBudget            = "memory budget"       // the memory that the plan allows the connections is spent
	ReasonServerDescriptors = "server descriptors"  // accept: EMFILE, or the server's RLIMIT_NOFILE is used up
	ReasonHostDescriptors   = "host descriptors"    // ENFILE: fs.file-max
	ReasonEpollWatches      = "epoll watches"       // ENOSPC: fs.epoll.max_user_watches
	ReasonClientDescriptors = "client descriptors"  // socket: EMFILE in the swarm
	ReasonClientPorts       = "client ports"        // no free source port left for any target: EADDRNOTAVAIL
	ReasonRefused           = "refused"             // ECONNREFUSED: nothing listens any more
	ReasonLibraryCap        = "library cap"         // the server holds what its library, by variant.toml, allows
	ReasonConntrack         = "tracked connections" // conntrack drop: nf_conntrack_max of a namespace on the way
	ReasonAcceptQueue       = "accept queue"        // ListenOverflows: the server does not accept, or not fast enough
	ReasonPacketLoss        = "packet loss"         // the server's kernel acknowledged nothing though it was sent again, and no queue was full
	ReasonTimeout           = "timeout"             // connects or handshakes stopped being answered in time
	ReasonRejected          = "rejected"            // the server answers, but refuses the handshake or closes
	ReasonMemoryReserve     = "memory reserve"      // the harness stopped it to keep available memory above the reserve
	ReasonMemory            = "memory"              // ENOMEM, ENOBUFS, OOM kill, tcp_mem
	ReasonServerDied        = "server died"         // the server's process ended
	ReasonClientDied        = "client died"         // a process of the swarm ended
	ReasonClientLimit       = "client limit"        // the swarm could not keep the pace
	ReasonInterrupted       = "interrupted"         // Ctrl-C, SIGTERM, or the plan's time was over
	ReasonUnknown           = "unknown"             // none of the above fits the evidence
)
