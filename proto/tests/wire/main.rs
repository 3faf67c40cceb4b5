//! The protocol on the wire: what is sent arrives, what breaks the specification is refused, and a server keeps both
//! the message limit and the token.

/// Every message that a peer may send, with what it stands for here, for a macro.
macro_rules! messages {
    ($of:ident) => {
        $of! {
            ReportMessage => Report,
            DesiredMessage => Answer,
            BundleContents => BundleContents,
            RunDescription => RunDescription,
            SubmitRequest => RunSpec,
            CancelRequest => RunId,
            JudgeRequest => Word,
            WatchRequest => WatchAsked,
            WatchMessage => Watched,
            ListRequest => ListAsked,
            ListResponse => Vec<RunOverview>,
            NotPassed => NotPassed,
            HistoryRequest => HistoryAsked,
            HistoryResponse => TestHistory,
            RankRequest => RankAsked,
            RankResponse => Vec<Ranked>,
            SearchRequest => SearchAsked,
            SearchResponse => Vec<FailureGroup>,
            StreamItem => StreamItem,
            GetRunRequest => RunId,
            GetBundleRequest => BundleAsked,
            PutLogRequest => LogChunk,
            OutputTold => OutputTold,
            ReadLogRequest => TextAsked,
            PutRequest => BlobPart,
            GetRequest => BlobAsked,
            GetResponse => BlobPiece,
            MissingRequest => Vec<Digest>,
            MissingResponse => Vec<Digest>,
            DrainRequest => DrainAsked,
            DrainResponse => Vec<DrainState>,
            FindTestRequest => TestAsked,
            FindTestResponse => Whereabouts,
            GetStandingRequest => RunId,
            Standing => Standing,
        }
    };
}

mod arbitrary;
mod environments;
mod hostile;
mod kept;
mod round_trip;
mod transport;
