"""What training measures, which data it saw, who had its device alone, and confirmations"""

# fmt: off
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('study', sa.Column('split_sha256', sa.String(), nullable=True))
    op.add_column('study', sa.Column('class_names', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column('study', sa.Column('confirms', sa.Uuid(), nullable=True))
    op.add_column('study', sa.Column('confirmation', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index(op.f('ix_study_confirms'), 'study', ['confirms'])
    op.create_foreign_key(op.f('fk_study_confirms'), 'study', 'study', ['confirms'], ['id'], ondelete='CASCADE')
    op.add_column('enqueued', sa.Column('final', sa.String(), nullable=True))
    op.add_column('trial', sa.Column('final', sa.String(), nullable=True))
    op.create_check_constraint(op.f('ck_trial_final'), 'trial', "final IN ('train', 'train_and_validation')")
    op.add_column('report', sa.Column('confusion', postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column('attempt', sa.Column('alone', sa.Boolean(), server_default=sa.text('false'), nullable=False))


def downgrade() -> None:
    op.drop_column('attempt', 'alone')
    op.drop_column('report', 'confusion')
    op.drop_constraint(op.f('ck_trial_final'), 'trial', type_='check')
    op.drop_column('trial', 'final')
    op.drop_column('enqueued', 'final')
    op.drop_constraint(op.f('fk_study_confirms'), 'study', type_='foreignkey')
    op.drop_index(op.f('ix_study_confirms'), table_name='study')
    op.drop_column('study', 'confirmation')
    op.drop_column('study', 'confirms')
    op.drop_column('study', 'class_names')
    op.drop_column('study', 'split_sha256')
