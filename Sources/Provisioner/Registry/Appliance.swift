package import Capsule
import DHCP
import FoundationEssentials
import Glibc
package import Logging
import ServiceLifecycle
import Synchronization

/// The whole model: configuration, registry, capsules, timelines, and what the servers ask. Opened by
/// `serve`, or by a verb where no appliance runs.
package final class Appliance: Service, Sendable {
  package static let version = "0.1.0"

  package let configuration: Configuration
  package let registry: Registry
  package let timeline: Timeline
  package let content: ContentStore
  package let catalog: CapsuleCatalog
  package let loaders: LoaderFiles
  package let ledger: BootLedger
  package let board: StatusBoard
  package let nodescripts: NodescriptTree
  package let moduleStore: ModuleStore
  let planFiles: PlanFiles
  /// One change of modules at a time.
  let moduleGate = Gate(1)
  package let clientPolicy: BootPolicyAdapter
  package let leases: RegistryLeases
  package let network: NetworkWatch
  /// The last DHCP messages of machines that boot.
  package let packets = PacketLog()
  package let observer: BootObserver
  package let bootContent: BootContent
  package let nodeService: NodeService
  package let logger: Logger
  private let store: SQLiteStore
  private let lock: Mutex<StateLock?>

  /// Seconds between looks for blobs that nothing needs any more.
  private static let collectionInterval = 600
  /// Milliseconds between batches of events to the disk.
  private static let flushInterval = 250

  /// Makes the state directory where it is missing, takes its lock, and opens what is in it.
  /// - Parameter purpose: What the lock is held for, for the message of who comes second: `perseid serve`.
  /// - Throws: `ApplianceError`, `StoreError` or `CapsuleError`, each for a person.
  package static func open(
    _ configuration: Configuration, purpose: String, loaders: LoaderFiles = LoaderFiles(), logger: Logger
  ) async throws -> Appliance {
    let paths = configuration.paths
    do {
      for path in [paths.state, paths.nodescripts] {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      }
    } catch {
      throw ApplianceError(
        .failed,
        "The state directory \(paths.state) cannot be made: \(error). "
          + "Make it, or name another as paths.state in \(configuration.file)."
      )
    }
    let lock = try StateLock(path: paths.lock, purpose: purpose)
    let content = try ContentStore(directory: paths.state)
    let store = try SQLiteStore(path: paths.store)
    let registry: Registry
    do {
      registry = try await Registry(
        store: store, defaults: configuration.defaults, discovery: configuration.discovery)
    } catch {
      try? await store.close()
      throw error
    }
    for damaged in registry.read({ $0.damaged }) {
      logger.error("A record of the registry cannot be read and is left out: \(damaged)")
    }
    let appliance = Appliance(configuration, registry, store, content, lock, loaders, logger)
    for damaged in appliance.moduleStore.damaged {
      logger.error("A module cannot be used: \(damaged). Import it again.")
    }
    do {
      try appliance.relinkModules()
    } catch {
      logger.error("The scripts of modules are not all in their places: \(error)")
    }
    return appliance
  }

  private init(
    _ configuration: Configuration, _ registry: Registry, _ store: SQLiteStore, _ content: ContentStore,
    _ lock: consuming StateLock, _ loaders: LoaderFiles, _ logger: Logger
  ) {
    self.configuration = configuration
    self.registry = registry
    self.store = store
    self.content = content
    self.loaders = loaders
    self.logger = logger
    self.lock = Mutex(consume lock)
    timeline = Timeline(store: store, logger: logger)
    catalog = CapsuleCatalog(content: content)
    ledger = BootLedger(registry: registry, timeline: timeline)
    board = StatusBoard(registry: registry)
    nodescripts = NodescriptTree(directory: configuration.paths.nodescripts)
    moduleStore = ModuleStore(directory: configuration.paths.modules)
    planFiles = PlanFiles(
      registry: registry, store: moduleStore, hostKeys: HostKeys(directory: configuration.paths.hostKeys),
      cache: FileCache(), siteDirectory: configuration.paths.moduleFiles, port: configuration.provisioner.port)
    clientPolicy = BootPolicyAdapter(
      registry: registry, trials: ledger.trials, loaders: loaders, port: configuration.provisioner.port,
      refused: RefusedMachines(logger: logger))
    leases = RegistryLeases(store: store)
    network = NetworkWatch(ledger: ledger, timeline: timeline)
    observer = BootObserver(ledger: ledger, network: network, packets: packets)
    bootContent = BootContent(
      registry: registry, ledger: ledger, catalog: catalog, loaders: loaders,
      site: SiteFiles(directory: configuration.paths.tftp), port: configuration.provisioner.port,
      standby: configuration.provisioner.standby)
    let rendered = RenderedContent()
    let maker = PlanMaker(
      tree: nodescripts, modules: moduleStore, files: planFiles, rendered: rendered, catalog: catalog,
      settings: configuration.states)
    let states = StateService(
      registry: registry, ledger: ledger, board: board, maker: maker,
      admission: Admission(limit: configuration.provisioner.concurrentBoots),
      standby: configuration.provisioner.standby)
    nodeService = NodeService(
      registry: registry, ledger: ledger, catalog: catalog, content: bootContent, rendered: rendered, states: states,
      standby: configuration.provisioner.standby, logger: logger)
  }

  /// Writes events and status to the disk in batches, and notices silence, until the task is cancelled.
  package func run() async throws {
    await cancelWhenGracefulShutdown {
      var sinceSilenceCheck = 0
      var sinceCollection = 0
      while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(Self.flushInterval))
        await self.flushOnce()
        sinceSilenceCheck += Self.flushInterval
        if sinceSilenceCheck >= 5000 {
          sinceSilenceCheck = 0
          self.noticeDelays(now: .now)
        }
        sinceCollection += Self.flushInterval
        if sinceCollection >= Self.collectionInterval * 1000 {
          sinceCollection = 0
          await self.collectLeftovers(trimming: false)
        }
      }
    }
  }

  private func flushOnce() async {
    do {
      try await timeline.flush()
      try await board.flush()
      try await ledger.trials.flush()
    } catch {
      logger.error("Events or states were not written: \(error)")
    }
  }

  /// Writes what waits, closes the store and gives the lock back. The last call, always.
  package func close() async throws {
    timeline.finish()
    var failure: (any Error)?
    do {
      try await timeline.flush()
      try await board.flush(all: true)
      try await ledger.trials.flush()
    } catch {
      failure = error
    }
    try await store.close()
    lock.withLock { $0 = nil }
    if let failure { throw failure }
  }

  /// What does not keep the appliance from starting, but will keep machines from booting.
  package func startWarnings() -> [String] {
    var warnings: [String] = []
    do {
      try loaders.check()
    } catch {
      warnings.append("\(error)")
    }
    let vnfs = configuration.defaults.vnfs
    if registry.read({ $0.capsules[vnfs] == nil }) {
      warnings.append(
        "The default capsule \(vnfs) (defaults.vnfs) is not there. Machines without another are told so on their "
          + "console and ask again. Make it: perseid vnfs import DIRECTORY --name \(vnfs).")
    }
    return warnings
  }

  package func info() -> InfoView {
    let (nodes, capsules) = registry.read { ($0.nodes.count, $0.capsules.count) }
    return InfoView(
      version: Self.version, configuration: configuration.file, stateDirectory: configuration.paths.state,
      interfaces: configuration.network.interfaces, nodes: nodes, groups: groups().count, capsules: capsules,
      process: getpid(), pools: pools(), network: network.view)
  }

  /// Live events from now on; a slow reader loses the oldest.
  package func watch(node: String? = nil) -> AsyncStream<TimelineEvent> {
    timeline.watch(node: node)
  }
}
