import CLinux
import Glibc
package import StateClient

/// Puts modules into the kernel.
package protocol ModuleInserter {
  /// - Throws: `SystemError`; EEXIST where it is there already.
  func insert(file: String, parameters: String) throws(SystemError)
}

/// The kernel's own.
package struct KernelModuleInserter: ModuleInserter {
  package init() {}

  package func insert(file: String, parameters: String) throws(SystemError) {
    let descriptor = try OpenFile(file, flags: O_RDONLY)
    try check("load \(file)") { clinux_finit_module(descriptor.descriptor, parameters) }
  }
}

/// Loads the modules that the machine's devices ask for.
package struct ModuleLoader {
  private let index: ModuleIndex
  /// `/lib/modules/RELEASE`
  private let directory: String
  private let inserter: any ModuleInserter
  private let commandLine: KernelCommandLine
  /// Tried already, with success or without it.
  private var tried: Set<ModuleName> = []
  /// What could not be loaded: `e1000e: load /lib/...: Invalid argument`.
  package private(set) var failures: [String] = []
  package private(set) var loaded: [ModuleName] = []

  package init(
    index: ModuleIndex, directory: String, commandLine: KernelCommandLine,
    inserter: any ModuleInserter = KernelModuleInserter()
  ) {
    self.index = index
    self.directory = directory
    self.commandLine = commandLine
    self.inserter = inserter
  }

  /// Reads what depmod wrote for a kernel release.
  package init(release: String, commandLine: KernelCommandLine) {
    let directory = "/lib/modules/\(release)"
    func read(_ name: String) -> [UInt8] {
      (try? SmallFile.read("\(directory)/\(name)", limit: 32 << 20)) ?? []
    }
    self.init(
      index: ModuleIndex(
        dependencies: read("modules.dep"), aliases: read("modules.alias"), builtIn: read("modules.builtin"),
        softDependencies: read("modules.softdep")), directory: directory, commandLine: commandLine)
  }

  /// Loads a module by name, with what it needs. A module that is not in the initramfs is left out
  /// without a word: built into the kernel, or not needed by this capsule.
  package mutating func load(named name: String) {
    for module in index.modules(named: name) { load(module) }
  }

  private mutating func load(_ name: ModuleName) {
    guard !tried.contains(name) else { return }
    for module in index.closure(of: name) where tried.insert(module).inserted {
      guard let file = index.file(of: module), !commandLine.blacklist.contains(module) else { continue }
      do throws(SystemError) {
        try inserter.insert(
          file: file.hasPrefix("/") ? file : "\(directory)/\(file)",
          parameters: commandLine.parameters(ofModule: module.description))
        loaded.append(module)
      } catch {
        // ENODEV: the driver found on a closer look that the device is not its own.
        if error.code != EEXIST && error.code != ENODEV { failures.append("\(module): \(error)") }
      }
    }
  }

  /// Loads what devices ask for, and again for the devices that appeared through that, until nothing is new.
  /// - Parameter devices: The devices' modaliases at the moment it is called.
  package mutating func coldplug(_ devices: () -> [String]) {
    var seen: Set<String> = []
    // Each round finds a device behind the last one's bus; no real machine is sixteen buses deep.
    for _ in 0..<16 {
      let new = devices().filter { seen.insert($0).inserted }
      guard !new.isEmpty else { return }
      for modalias in new {
        for module in index.modules(for: modalias) { load(module) }
      }
    }
  }
}

/// The devices that the kernel knows, by their modaliases.
package enum Devices {
  /// The buses that a network card of the first search can be on.
  package static let cardBuses = ["pci", "virtio", "vmbus", "xen"]

  /// - Parameter buses: Every bus where none is named.
  package static func modaliases(of buses: [String]? = nil, in directory: String = "/sys/bus") -> [String] {
    (buses ?? SmallFile.names(in: directory)).flatMap { bus in
      SmallFile.names(in: "\(directory)/\(bus)/devices").compactMap { device in
        SmallFile.text("\(directory)/\(bus)/devices/\(device)/modalias").flatMap { $0.isEmpty ? nil : $0 }
      }
    }
  }

  /// Whether a device is a network card by what it says of itself: these are loaded first.
  package static func isNetworkCard(_ modalias: String) -> Bool {
    if modalias.hasPrefix("pci:") { return modalias.contains("bc02") }
    // Virtio's device type 1 (Virtual I/O Device specification, section 5), Xen's and Hyper-V's networks.
    return modalias.hasPrefix("virtio:d00000001") || modalias == "xen:vif"
      || modalias == "vmbus:635161f83edfc546913ff2d2f965ed0e"
  }

  /// Virtio's own PCI devices are the bus behind which the network card appears.
  package static func isVirtioBus(_ modalias: String) -> Bool { modalias.hasPrefix("pci:v00001AF4") }
}
