require 'socket'

# What VMs need of this machine: `vagrant up` ends with one line where it is not there.
module Preflight
  # OFFLINE is the box that make vagrant-box builds, and its file.
  OFFLINE = 'connbench-debian12'
  OFFLINE_FILE = "#{__dir__}/box/debian12.box"

  def self.provider(name)
    if name == 'virtualbox'
      system('command -v VBoxManage > /dev/null') or abort 'the provider is missing: install VirtualBox, or PROVIDER=libvirt'
      return
    end
    Vagrant.has_plugin?('vagrant-libvirt') or
      abort 'the provider is missing: run scripts/setup.sh vagrant, as root, or PROVIDER=virtualbox'
    return if ENV['LIBVIRT_DEFAULT_URI'].to_s =~ /\A\w+\+/ # elsewhere
    UNIXSocket.new('/var/run/libvirt/libvirt-sock').close
  rescue SystemCallError => e
    abort "libvirt does not answer (#{e.message}): start libvirtd, or put vagrant/libvirt-alone.sh before the command"
  end

  def self.box(name)
    boxes = "#{ENV['VAGRANT_HOME'] || File.expand_path('~/.vagrant.d')}/boxes"
    return if File.directory?("#{boxes}/#{name.gsub('/', '-VAGRANTSLASH-')}")
    if name != OFFLINE
      warn "box #{name} is not here yet; where it can't be downloaded: make vagrant-box, and BOX=#{OFFLINE}"
    elsif !File.exist?(OFFLINE_FILE)
      abort "box #{name} is missing: make vagrant-box"
    end
  end

  def self.memory(want_mib)
    return unless File.exist?('/proc/meminfo')
    have = File.read('/proc/meminfo')[/^MemAvailable:\s+(\d+)/, 1].to_i / 1024
    abort "the VMs want #{want_mib} MiB and this machine has #{have} available: lower SERVER_MEMORY= or CLIENT_MEMORY=" if want_mib > have
  end

  # kvm? is false also where /dev/kvm is there but the CPU can't: some kernels have
  # one that runs no ordinary guest.
  def self.kvm?
    File.exist?('/dev/kvm') && File.read('/proc/cpuinfo').match?(/\b(vmx|svm)\b/)
  end
end
