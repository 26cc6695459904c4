# The settings of the VMs: settings.toml, over which the environment goes, and over
# both what existing VMs were made with. Bad ones end the command with one line.
module Settings
  FILE = "#{__dir__}/settings.toml"

  # read returns texts by key. state is Vagrant's folder of what exists.
  def self.read(state)
    exist = exist?(state)
    found = parse(FILE).merge(exist ? parse(kept(state)) : {})
    found.each_key do |key|
      asked = ENV[key.upcase]
      next if asked.nil? || asked.empty? || asked == found[key]
      next found[key] = asked unless exist
      abort "the VMs were made with #{key} = #{found[key]}: make vagrant-destroy first" if ARGV.include?('up')
    end
  end

  # keep notes what VMs are about to be made with.
  def self.keep(state, settings)
    FileUtils.mkdir_p(state)
    File.write(kept(state), settings.map { |key, value| "#{key} = \"#{value}\"\n" }.join)
  end

  def self.exist?(state)
    !Dir.glob("#{state}/machines/*/*/id").empty?
  end

  def self.kept(state)
    "#{state}/connbench.toml"
  end

  # parse reads lines `key = value`, as much of TOML as the file needs.
  def self.parse(file)
    return {} unless File.exist?(file)
    File.readlines(file, chomp: true).each.with_index(1).with_object({}) do |(line, number), found|
      next if line =~ /\A\s*(#.*)?\z/
      line =~ /\A\s*(\w+)\s*=\s*(?:"([^"]*)"|(\d+))\s*(?:#.*)?\z/ or
        abort "#{file}:#{number}: want key = 1 or key = \"text\""
      found[$1] = $2 || $3
    end
  end

  def self.text(settings, key)
    settings.fetch(key) { abort "#{FILE}: #{key} is missing" }
  end

  def self.number(settings, key, range)
    text = text(settings, key)
    return text.to_i if text =~ /\A\d+\z/ && range.cover?(text.to_i)
    abort "#{key} is \"#{text}\": want a number from #{range.first} to #{range.last}"
  end

  def self.choice(settings, key, *among)
    text = text(settings, key)
    among.include?(text) ? text : abort("#{key} is \"#{text}\": want #{among.join(' or ')}")
  end

  # network returns the two /16 of an IPv4 /15, each as its first two bytes.
  def self.network(settings)
    network = IPAddr.new(text(settings, 'network'))
    raise IPAddr::InvalidPrefixError unless network.ipv4? && network.prefix == 15
    a, b = network.to_s.split('.').map(&:to_i)
    ["#{a}.#{b}", "#{a}.#{b + 1}"]
  rescue IPAddr::Error
    abort "network is \"#{settings['network']}\": want an IPv4 /15"
  end
end
