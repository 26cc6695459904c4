package explorer

// question is what a reader may want to know first: which runs answer it, and by which
// figures.
type question struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Plans are those whose runs answer it. The newest of all such runs that measured the
	// most variants gives the sentences above the table.
	Plans []string `json:"plans"`
	// Figures are the columns, the answer first. A name that ends in a dot is that of a
	// family.
	Figures []string `json:"figures"`
	// Answer are the sentences above the table. [gather] fills them in.
	Answer []string `json:"answer"`
	// From is the place of the run that the sentences are about.
	From int `json:"from"`
}

// questions are in the order in which they stand on the page. The page opens with the first.
var questions = []question{
	{
		ID: "idle", Title: "Memory of an idle connection", Plans: []string{"models", "full", "default", "budget"},
		Figures: []string{
			"per_connection.rss_bytes", "per_connection.rss_settled_bytes", "per_connection.kernel_bytes", "connections.reached",
			"per_connection.heap_in_use_bytes", "per_connection.stack_bytes", "per_connection.goroutines",
		},
	},
	{
		ID: "which", Title: "Which model?", Plans: []string{"models", "full", "default"},
		Figures: []string{
			"per_connection.rss_bytes", "ramp.connects_per_second", "cpu.accept_us", "cpu.echo_us", "echo.p50_us", "echo.p99_us",
			"saturate.delivered_per_second", "cpu.idle_cores",
		},
	},
	{
		ID: "full", Title: "Until memory is full", Plans: []string{"ceiling"},
		Figures: []string{
			"connections.reached", "per_connection.rss_bytes", "per_connection.kernel_bytes", "ramp.connects_per_second", "cpu.accept_us",
			"ramp.last_tenth", "ramp.last_tenth_accept_cpu",
		},
	},
	{
		ID: "budget", Title: "In one GiB", Plans: []string{"budget"},
		Figures: []string{"budget.connections", "per_connection.rss_bytes", "per_connection.kernel_bytes", "ramp.connects_per_second", "cpu.accept_us"},
	},
	{
		ID: "million", Title: "A million", Plans: []string{"million"},
		Figures: []string{
			"connections.reached", "per_connection.rss_bytes", "per_connection.kernel_bytes", "ramp.connects_per_second", "cpu.accept_us",
			"cpu.echo_us", "cpu.ping_us", "echo.p99_us",
		},
	},
	{
		ID: "tls", Title: "With TLS", Plans: []string{"tls"},
		Figures: []string{
			"per_connection.rss_bytes", "per_connection.rss_settled_bytes", "cpu.accept_us", "cpu.echo_us", "ramp.connects_per_second",
			"per_connection.live_heap_bytes", "per_connection.stack_bytes", "per_connection.kernel_bytes",
		},
	},
	{
		ID: "storm", Title: "When all come back", Plans: []string{"storm"},
		Figures: []string{
			"storm.half_seconds", "storm.most_seconds", "storm.all_seconds", "storm.back_per_second", "cpu.comeback_us",
			"storm.rss_peak_bytes", "storm.failures", "churn.growth_bytes", "stayers.before_p99_us", "stayers.p99_us",
			"restart.down_seconds", "restart.all_seconds", "restart_backoff.all_seconds",
		},
	},
	{
		ID: "broadcast", Title: "One message to all", Plans: []string{"broadcast"},
		Figures: []string{"broadcast.reach", "broadcast.last_p50_us", "broadcast.last_p99_us", "cpu.delivery_us", "broadcast.rss_peak_bytes"},
	},
	{
		ID: "slow", Title: "Next to slow peers", Plans: []string{"slow"},
		Figures: []string{"slow.without_p99_us", "slow.with_p99_us", "slow.taken_bytes", "slow.rss_added_bytes", "slow.dropped_share"},
	},
	{
		ID: "mix", Title: "Active and idle", Plans: []string{"mix"},
		Figures: []string{"mix.idle_rss_bytes", "mix.active_rss_bytes", "mix.idle_cpu_us"},
	},
	{
		ID: "work", Title: "When handlers take CPU", Plans: []string{"complexity"},
		Figures: []string{"complexity.kept."},
	},
	{
		ID: "vm", Title: "One process in a VM", Plans: []string{"vagrant"},
		Figures: []string{"connections.reached", "per_connection.rss_bytes", "per_connection.kernel_bytes", "per_connection.heap_in_use_bytes"},
	},
}
