import ArgumentParser
import DHCP
import DHCPWire
import Glibc
import Logging
import NetworkTypes
import Provisioner
import ServiceLifecycle
import TFTP
import UnixSignals

/// `perseid serve`: runs the appliance in the foreground, until SIGTERM or Ctrl-C.
struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the appliance in the foreground.")

  @OptionGroup var common: CommonOptions

  @Option(
    name: .long, help: "The least important messages shown: trace, debug, info, notice, warning, error.",
    transform: { text in
      guard let level = Logger.Level(rawValue: text) else { throw ValidationError("'\(text)' is no log level.") }
      return level
    })
  var logLevel = Logger.Level.info

  func run() async throws {
    let logger = Logger(label: "perseid") { _ in StandardErrorLog(logLevel: logLevel) }
    let configuration = try common.configuration()
    let interfaces = try configuration.resolve()
    let appliance = try await Appliance.open(configuration, purpose: "perseid serve", logger: logger)
    let result: Result<Void, any Error>
    do { result = .success(try await serve(appliance, interfaces, logger)) } catch { result = .failure(error) }
    try await appliance.close()
    try result.get()
    logger.info("The appliance has stopped.")
  }

  /// The whole wiring: who answers nodes and people, and whom they ask.
  private func serve(_ appliance: Appliance, _ interfaces: [ServedInterface], _ logger: Logger) async throws {
    let configuration = appliance.configuration
    try appliance.loaders.check()
    warn(appliance, logger)

    let tftp = try TFTPServer(
      ServerConfiguration(
        port: configuration.tftp.port, usesSinglePort: configuration.tftp.singlePort,
        subnets: interfaces.map(\.subnet) + configuration.dhcp.relayed.map(\.subnet)),
      source: appliance.bootContent, observer: appliance.observer, logger: logger)
    var limits = NodeHTTPServer.Limits()
    limits.rates = DeliveryRates(
      total: configuration.provisioner.rate, perClient: configuration.provisioner.ratePerNode)
    let http = NodeHTTPServer(
      api: appliance.nodeService, port: configuration.provisioner.port, limits: limits, logger: logger)
    try await http.start()

    let readiness = Readiness(parts: interfaces.count + (configuration.admin.port > 0 ? 2 : 1)) {
      logger.info("The appliance is ready: every port answers.", metadata: Self.summary(configuration, interfaces))
      SystemdNotification.send("READY=1")
    }
    let admin = AdminServer(appliance: appliance, logger: logger) { readiness.partAnswers() }
    let dhcp = interfaces.map { interface in
      DHCPServer(
        configuration: DHCPServerConfiguration(configuration, interface), policy: appliance.clientPolicy,
        store: appliance.leases, observer: appliance.observer, logger: logger
      ) { readiness.partAnswers() }
    }

    for server in dhcp { appliance.network.count(server.configuration.interface) { server.statistics } }

    let searches: [any Service] =
      configuration.network.answerRouterSearch
      ? interfaces.map { RouterSearchService(interface: $0.name, logger: logger) } : []

    // The model comes first and so stops last: what the servers say on their way out is still written.
    let services: [any Service] = [appliance, tftp, http, admin] + dhcp + searches
    var group = ServiceGroupConfiguration(
      services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    group.maximumGracefulShutdownDuration = .seconds(10)
    group.maximumCancellationDuration = .seconds(5)
    try await ServiceGroup(configuration: group).run()
    SystemdNotification.send("STOPPING=1")
  }

  private func warn(_ appliance: Appliance, _ logger: Logger) {
    let vnfs = appliance.configuration.defaults.vnfs
    if appliance.registry.read({ $0.capsules[vnfs] == nil }) {
      logger.warning(
        """
        The default capsule \(vnfs) does not exist yet: machines will wait and ask again. \
        Make it: perseid vnfs import SOURCE --name \(vnfs)
        """)
    }
  }

  private static func summary(_ configuration: Configuration, _ interfaces: [ServedInterface]) -> Logger.Metadata {
    [
      "interfaces": "\(interfaces.map { "\($0.name) \($0.address)" }.joined(separator: ", "))",
      "dhcp": "\(configuration.dhcp.mode.rawValue)", "tftp": "\(configuration.tftp.port)",
      "http": "\(configuration.provisioner.port)", "control": "\(configuration.paths.controlSocket)",
    ]
  }
}

extension DHCPServerConfiguration {
  /// What the configuration file says for one interface. Networks behind relays are served by the first.
  fileprivate init(_ configuration: Configuration, _ interface: ServedInterface) {
    let dhcp = configuration.dhcp
    let isFirst = interface.name == configuration.network.interfaces.first
    self.init(
      mode: Mode(rawValue: dhcp.mode.rawValue) ?? .authoritative, interface: interface.name,
      serverAddress: interface.address,
      network: Network(
        subnet: interface.subnet, pools: interface.pool.map { [$0] } ?? [], router: dhcp.router,
        mtu: dhcp.mtu.map { UInt16(clamping: $0) }, domainSearch: dhcp.domainSearch,
        routes: dhcp.routes.filter { interface.subnet.isHost($0.router) }),
      relayed: isFirst ? dhcp.relayed.map { Network($0, dhcp) } : [],
      leaseSeconds: UInt32(clamping: dhcp.leaseSeconds), nameServers: dhcp.dns, domain: dhcp.domain,
      timeServers: dhcp.ntp, allowsDynamicBOOTP: dhcp.dynamicBOOTP,
      probesConflicts: dhcp.conflictProbe, searchMilliseconds: Self.searchMilliseconds)
  }

  /// Most servers answer within milliseconds. A client repeats its question after four seconds, and what it asks
  /// meanwhile is kept: a restart of the appliance costs nobody a boot.
  private static let searchMilliseconds = 1000
}

extension DHCPServerConfiguration.Network {
  fileprivate init(_ relayed: Configuration.DHCP.Relayed, _ dhcp: Configuration.DHCP) {
    self.init(
      subnet: relayed.subnet, pools: [relayed.pool], router: relayed.router,
      mtu: (relayed.mtu ?? dhcp.mtu).map { UInt16(clamping: $0) },
      domainSearch: relayed.domainSearch ?? dhcp.domainSearch,
      routes: relayed.routes ?? dhcp.routes.filter { relayed.subnet.isHost($0.router) })
  }
}
