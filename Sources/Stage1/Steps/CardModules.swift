import StateClient
import StateProtocol

/// Loads the drivers of network cards, and of everything where that brings none: nothing else is
/// needed until the appliance knows that this node is here.
enum CardModules {
  static func run(_ boot: Boot) throws {
    let release = MachineFacts.read(generation: nil).kernelRelease
    let started = Clock.now
    var loader = boot.modules ?? ModuleLoader(release: release, commandLine: boot.commandLine)
    boot.debug("what depmod wrote is read in \(milliseconds(Clock.now - started)) ms")
    loader.coldplug {
      Devices.modaliases(of: Devices.cardBuses).filter { Devices.isNetworkCard($0) || Devices.isVirtioBus($0) }
    }
    if NetworkCard.all().isEmpty { loader.coldplug { Devices.modaliases() } }
    boot.modules = loader
    OtherModules.tell(loader, boot)
  }
}

/// Loads the drivers of everything else, for scripts that look at disks.
enum OtherModules {
  static func run(_ boot: Boot) throws {
    guard var loader = boot.modules else { return }
    loader.coldplug { Devices.modaliases() }
    boot.modules = loader
    tell(loader, boot)
  }

  /// A driver that does not load is told, and is no reason to stop: the card may be another one's.
  static func tell(_ loader: ModuleLoader, _ boot: Boot) {
    boot.debug("modules: \(loader.loaded.map(\.description).joined(separator: " "))", level: 2)
    for failure in loader.failures { boot.debug("module \(failure)") }
  }
}
