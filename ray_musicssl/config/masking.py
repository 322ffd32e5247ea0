"""Which frames the encoder must guess."""

from pydantic import Field

from ray_musicssl.config.section import Section


class MaskingConfig(Section):
    """Random spans of frames, drawn for each clip on its own.

    Source: fairseq's compute_mask_indices; values of hubert_base and data2vec audio base.
    """

    mask_prob: float = Field(default=0.8, gt=0, le=1)
    """Span starts per frame times `mask_length`; 0.8 with spans of 10 hides 57 % of the frames."""
    mask_length: int = Field(default=10, ge=1)
    """Frames in one span (20 ms each)."""
    min_masks: int = Field(default=2, ge=1)
    """Fewest spans in a clip."""
    require_same_masks: bool = False
    """Show single frames again, at random, until all clips of a micro-batch hide as many as the one that hides fewest."""

    def fewest_spans(self, num_frames: int) -> int:
        """Spans that a clip has at least."""
        return max(self.min_masks, int(self.mask_prob * num_frames / self.mask_length))
