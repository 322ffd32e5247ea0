"""What TensorBoard's own reader finds of trials on disk."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from ray_musicssl.training.hparams import begin_session, end_session, write_columns


def events(directory):
    found = EventAccumulator(str(directory))
    found.Reload()
    return found


def test_a_trial_is_on_the_page_from_its_start_and_has_its_scores_at_its_end(tmp_path):
    begin_session(tmp_path, {"masking.mask_length": 5, "feature.name": "mfcc", "training.compile": True})
    begun = events(tmp_path)
    content = begun.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hparams["masking.mask_length"].number_value == 5.0
    assert hparams["feature.name"].string_value == "mfcc"
    assert hparams["training.compile"].bool_value is True
    assert metadata.SESSION_END_INFO_TAG not in begun.summary_metadata
    end_session(tmp_path, {"score": 0.25}, 600)
    ended = events(tmp_path)
    assert metadata.SESSION_END_INFO_TAG in ended.summary_metadata
    ((step, value),) = [(event.step, event.value) for event in ended.Scalars("score")]
    assert (step, value) == (600, 0.25)


def test_the_columns_are_what_varies_and_what_is_scored_and_are_replaced_by_those_of_a_later_call(tmp_path):
    write_columns(tmp_path, [{"x": 1}], ["old"])
    write_columns(tmp_path, [{"x": 1, "name": "a"}, {"x": 2}], ["score"])
    content = events(tmp_path / "hparams").SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert [column.name for column in experiment.hparam_infos] == ["x", "name"]
    assert [info.name.tag for info in experiment.metric_infos] == ["score"]
    assert len(list((tmp_path / "hparams").iterdir())) == 1
